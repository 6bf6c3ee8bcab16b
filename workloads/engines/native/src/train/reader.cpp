// Batches from plain files, read with pread straight into the caller's buffers. Nothing is mapped: pages of a mapping
// that were touched count as resident, and the page cache does not.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "../core/core.h"
#include "channel.h"
#include "data.h"

namespace harness_train {

namespace {

int open_file(const char* path, int64_t needed_bytes) {
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0 && errno == ENOENT) fail("%s is not there any more; run again to prepare it anew", path);
  if (file < 0) fail("%s cannot be opened: %s", path, strerror(errno));
  struct stat facts;
  if (fstat(file, &facts) != 0) fail("%s cannot be looked at: %s", path, strerror(errno));
  if (facts.st_size < needed_bytes)
    fail("%s has %lld bytes, the job needs %lld: it was truncated; run again", path, (long long)facts.st_size, (long long)needed_bytes);
  return file;
}

}  // namespace

void ColumnFiles::open(const Column& column) {
  column_ = &column;
  const size_t count = (size_t)column.segment_count;
  int32_t* files = (int32_t*)allocate(count * sizeof(int32_t), "the data files");
  int64_t* offsets = (int64_t*)allocate(count * sizeof(int64_t), "the data files");
  int64_t* starts = (int64_t*)allocate(count * sizeof(int64_t), "the data files");
  int64_t start = 0;
  for (size_t i = 0; i < count; i++) {
    const Segment& segment = column.segments[i];
    files[i] = open_file(segment.path, segment.offset + (segment.count - 1) * column.stride + column.item_bytes);
    offsets[i] = segment.offset - start * column.stride;  // counted from item 0 of the column
    starts[i] = start;
    start += segment.count;
  }
  opened_ = {files, offsets, starts, column.segment_count, column.stride, column.item_bytes};
}

void ColumnFiles::read(const int64_t* items, int64_t count, uint8_t* to) const {
  const int32_t done = harness_items_read(&opened_, items, (int32_t)count, to);
  if (done == count) return;
  const int cause = errno;
  const char* path = column_->segments[harness::part_of(opened_, items[done])].path;
  if (cause) fail("%s cannot be read: %s", path, strerror(cause));
  fail("%s ends inside item %lld: it was cut while being read; delete it and run again", path, (long long)items[done]);
}

void ColumnFiles::close() {
  for (int32_t i = 0; i < opened_.parts; i++) ::close(opened_.files[i]);
  free((void*)opened_.files), free((void*)opened_.offsets), free((void*)opened_.starts);
}

BatchReader::BatchReader(const Split& split, int64_t batch_size, uint64_t seed, bool shuffle)
    : split_(split), batch_size_(batch_size), shuffle_(shuffle) {
  if (shuffle && batch_size > split.count)
    fail("a batch of %lld items is larger than the %lld training items; use a smaller --batch-size", (long long)batch_size, (long long)split.count);
  items_ = (int64_t*)allocate((size_t)batch_size * sizeof(int64_t), "the items of a batch");
  if (shuffle) order_.open(split.count, seed), order_.begin(0);
  if (split.noise) make_noise();
  images_.open(split.images), labels_.open(split.labels);
}

BatchReader::~BatchReader() {
  images_.close(), labels_.close();
  free(items_), free(noise_);
}

int64_t BatchReader::read(uint8_t* images, uint8_t* labels) {
  if (position_ + (shuffle_ ? batch_size_ : 1) > split_.count) {
    epoch_++, position_ = 0;
    if (shuffle_) order_.begin(epoch_);
  }
  const int64_t left = split_.count - position_, count = left < batch_size_ ? left : batch_size_;
  if (shuffle_) order_.items(position_, count, items_);
  for (int64_t k = 0; !shuffle_ && k < count; k++) items_[k] = position_ + k;
  if (split_.noise) {
    const harness_noise noise = {noise_, harness::draw(harness::kNoiseItem, split_.noise_seed), split_.images.item_bytes, split_.classes, 1};
    harness_items_noise(&noise, items_, (int32_t)count, images, labels);
  } else {
    images_.read(items_, count, images), labels_.read(items_, count, labels);
  }
  check_labels(labels, count);
  position_ += batch_size_;
  return count;
}

void BatchReader::check_labels(const uint8_t* labels, int64_t count) const {
  for (int64_t k = 0; k < count; k++)
    if (labels[k] >= split_.classes)
      fail("item %lld has label %d, but there are %d classes: the prepared copy %s is damaged; delete it and run again",
           (long long)items_[k], labels[k], split_.classes, labels_.first_path());
}

// The block that every noise item is cut from: the only thing of a synthetic set that is resident.
void BatchReader::make_noise() {
  noise_ = (uint8_t*)allocate(harness::kNoiseBytes, "noise");
  const uint64_t key = harness::draw(harness::kNoise, split_.noise_seed);
  for (size_t word = 0; word < harness::kNoiseBytes / 8; word++) {
    const uint64_t bits = harness::draw(key, word);
    for (size_t byte = 0; byte < 8; byte++) noise_[8 * word + byte] = (uint8_t)(bits >> (8 * byte));
  }
}

}  // namespace harness_train
