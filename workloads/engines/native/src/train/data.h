// A prepared data set, as workloads/datasets/base.py describes it, and its batches, as datasets/reader.py makes them.
#ifndef HARNESS_TRAIN_DATA_H
#define HARNESS_TRAIN_DATA_H

#include <cstddef>
#include <cstdint>

#include "../core/items.h"

namespace harness_train {

struct Segment {
  const char* path;
  int64_t offset, count;  // item k of the segment begins at offset + k * stride
};

struct Column {
  Segment* segments;
  int32_t segment_count;
  int64_t stride, item_bytes;
};

struct Split {
  Column images, labels;
  int64_t count;
  int32_t classes;
  bool noise;  // no files: items are made from noise_seed
  uint64_t noise_seed;
};

// The shuffled order of one epoch (a Feistel network with cycle walking), computed item by item.
class Permutation {
 public:
  void open(int64_t count, uint64_t seed);
  void begin(uint64_t epoch);
  void items(int64_t start, int64_t count, int64_t* items) const;

 private:
  int64_t count_;
  uint64_t seed_;
  int32_t left_bits_, right_bits_;
  uint16_t* tables_[6];
};

// The open files of one column.
class ColumnFiles {
 public:
  void open(const Column& column);
  // Reads items one after another. Ends the process where one came short.
  void read(const int64_t* items, int64_t count, uint8_t* to) const;
  void close();
  const char* first_path() const { return column_->segment_count ? column_->segments[0].path : ""; }

 private:
  const Column* column_;
  harness_column opened_;
};

// Batches without end in the order of the epoch, or of the files; opens at the first batch, or the first item.
class BatchReader {
 public:
  BatchReader(const Split& split, int64_t batch_size, uint64_t seed, bool shuffle);
  ~BatchReader();

  // Fills the buffers with the next batch and returns its number of items: a shuffled epoch drops its incomplete
  // batch, the order of the files has it. Ends the process where a file came short or a label is no class.
  int64_t read(uint8_t* images, uint8_t* labels);
  uint64_t last_epoch() const { return epoch_; }
  const int64_t* last_items() const { return items_; }

 private:
  void make_noise();
  void check_labels(const uint8_t* labels, int64_t count) const;

  const Split& split_;
  int64_t batch_size_, position_ = 0;
  uint64_t epoch_ = 0;
  bool shuffle_;
  int64_t* items_;
  Permutation order_;
  ColumnFiles images_, labels_;
  uint8_t* noise_ = nullptr;
};

// Shifts and mirrors the images of a batch in place, as datasets/augment.py.
class Augmentation {
 public:
  Augmentation(int32_t channels, int32_t height, int32_t width, bool flips, uint64_t seed);
  void apply(uint8_t* images, const int64_t* items, int64_t count, uint64_t epoch);

 private:
  int32_t channels_, height_, width_;
  bool flips_;
  uint64_t seed_;
  uint8_t* row_;  // room for one row
};

}  // namespace harness_train

#endif
