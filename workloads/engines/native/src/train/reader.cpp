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
  files_ = (int*)allocate(count * sizeof(int), "the data files");
  starts_ = (int64_t*)allocate(count * sizeof(int64_t), "the data files");
  int64_t start = 0;
  for (size_t i = 0; i < count; i++) {
    const Segment& segment = column.segments[i];
    files_[i] = open_file(segment.path, segment.offset + (segment.count - 1) * column.stride + column.item_bytes);
    starts_[i] = start;
    start += segment.count;
  }
}

void ColumnFiles::read(int64_t item, uint8_t* to) const {
  int32_t part = column_->segment_count - 1;
  while (starts_[part] > item) part--;
  const Segment& segment = column_->segments[part];
  const int64_t position = segment.offset + (item - starts_[part]) * column_->stride;
  if (harness::read_whole(files_[part], position, column_->item_bytes, to)) return;
  if (errno) fail("%s cannot be read: %s", segment.path, strerror(errno));
  fail("%s ends inside item %lld: it was cut while being read; delete it and run again", segment.path, (long long)item);
}

void ColumnFiles::close() {
  for (int32_t i = 0; i < column_->segment_count; i++) ::close(files_[i]);
  free(files_), free(starts_);
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
  for (int64_t k = 0; k < count; k++) {
    items_[k] = shuffle_ ? order_.item(position_ + k) : position_ + k;
    uint8_t* image = images + k * split_.images.item_bytes;
    if (split_.noise)
      noise_item(items_[k], image, labels + k);
    else
      images_.read(items_[k], image), labels_.read(items_[k], labels + k);
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

void BatchReader::noise_item(int64_t item, uint8_t* image, uint8_t* label) const {
  const harness_noise noise = {noise_, harness::draw(harness::kNoiseItem, split_.noise_seed), split_.images.item_bytes, split_.classes, 1};
  harness_items_noise(&noise, &item, 1, image, label);
}

}  // namespace harness_train
