// The order of an epoch and what is done to its images: pure functions of (seed, epoch, item).
#include <cstdlib>

#include "../core/core.h"
#include "channel.h"
#include "data.h"

namespace harness_train {

static int32_t bit_length(uint64_t value) { return value ? 64 - __builtin_clzll(value) : 0; }

void Permutation::open(int64_t count, uint64_t seed) {
  if (count < 1 || count > (int64_t)1 << 32) fail("a permutation needs 1 to %lld items, not %lld", 1ll << 32, (long long)count);
  const int32_t needed = bit_length((uint64_t)count - 1), bits = needed > 2 ? needed : 2;
  count_ = count, seed_ = seed, left_bits_ = bits / 2, right_bits_ = bits - left_bits_;
  for (int32_t j = 0; j < 6; j++) {
    const int32_t in_bits = j % 2 ? left_bits_ : right_bits_;
    tables_[j] = (uint16_t*)allocate(sizeof(uint16_t) << in_bits, "the order of the items");
  }
}

void Permutation::begin(uint64_t epoch) {
  const uint64_t key = harness::draw(harness::kShuffle, seed_, epoch);
  for (int32_t j = 0; j < 6; j++) {
    const int32_t in_bits = j % 2 ? left_bits_ : right_bits_, out_bits = j % 2 ? right_bits_ : left_bits_;
    for (uint32_t x = 0; x < 1u << in_bits; x++) tables_[j][x] = (uint16_t)(harness::draw(key, (uint64_t)j, x) & ((1u << out_bits) - 1));
  }
}

void Permutation::items(int64_t start, int64_t count, int64_t* items) const {
  harness_items_order(tables_, right_bits_, count_, start, (int32_t)count, items);
}

Augmentation::Augmentation(int32_t channels, int32_t height, int32_t width, bool flips, uint64_t seed)
    : channels_(channels), height_(height), width_(width), flips_(flips), seed_(seed) {
  row_ = (uint8_t*)allocate((size_t)width, "one row of an image");
}

void Augmentation::apply(uint8_t* images, const int64_t* items, int64_t count, uint64_t epoch) {
  const int32_t max_dx = (int32_t)(0.15 * width_), max_dy = (int32_t)(0.15 * height_);
  const harness_moves moves = {harness::draw(harness::kAugment, seed_, epoch), row_, channels_, height_, width_, max_dx, max_dy, flips_};
  harness_items_move(&moves, items, (int32_t)count, images);
}

}  // namespace harness_train
