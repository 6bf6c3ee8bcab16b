// The order of an epoch and what is done to its images: pure functions of (seed, epoch, item).
#include <cstdlib>
#include <cstring>

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
  const uint64_t key = draw(kShuffle, seed_, epoch);
  for (int32_t j = 0; j < 6; j++) {
    const int32_t in_bits = j % 2 ? left_bits_ : right_bits_, out_bits = j % 2 ? right_bits_ : left_bits_;
    for (uint32_t x = 0; x < 1u << in_bits; x++) tables_[j][x] = (uint16_t)(draw(key, (uint64_t)j, x) & ((1u << out_bits) - 1));
  }
}

int64_t Permutation::item(int64_t position) const {
  for (;;) {
    uint64_t left = (uint64_t)position >> right_bits_, right = (uint64_t)position & ((1ull << right_bits_) - 1);
    for (int32_t j = 0; j < 6; j += 2) {
      left ^= tables_[j][right];
      right ^= tables_[j + 1][left];
    }
    position = (int64_t)(left << right_bits_ | right);
    if (position < count_) return position;
  }
}

Augmentation::Augmentation(int32_t channels, int32_t height, int32_t width, bool flip, uint64_t seed)
    : channels_(channels), height_(height), width_(width), flip_(flip), seed_(seed) {
  copy_ = (uint8_t*)allocate((size_t)channels * (size_t)height * (size_t)width, "one image");
}

void Augmentation::apply(uint8_t* images, const int64_t* items, int64_t count, uint64_t epoch) {
  const int32_t max_dx = (int32_t)(0.15 * width_), max_dy = (int32_t)(0.15 * height_);
  const uint64_t key = draw(kAugment, seed_, epoch);
  const size_t size = (size_t)channels_ * (size_t)height_ * (size_t)width_;
  for (int64_t k = 0; k < count; k++) {
    const uint64_t bits = draw(key, (uint64_t)items[k]);
    const int32_t dx = (int32_t)((bits & 0xFFFF) * (uint64_t)(2 * max_dx + 1) >> 16) - max_dx;
    const int32_t dy = (int32_t)((bits >> 16 & 0xFFFF) * (uint64_t)(2 * max_dy + 1) >> 16) - max_dy;
    const bool flip = flip_ && (bits >> 32 & 1);
    if (dx || dy || flip) move(images + (size_t)k * size, dx, dy, flip);
  }
}

static int32_t clamp(int32_t value, int32_t size) { return value < 0 ? 0 : value < size ? value : size - 1; }

// out[c][y][x] = in[c][clamp(y - dy)][clamp(x' - dx)], x' mirrored: the edge is repeated.
void Augmentation::move(uint8_t* image, int32_t dx, int32_t dy, bool flip) {
  const size_t plane = (size_t)height_ * (size_t)width_;
  memcpy(copy_, image, (size_t)channels_ * plane);
  for (int32_t c = 0; c < channels_; c++)
    for (int32_t y = 0; y < height_; y++) {
      const uint8_t* from = copy_ + (size_t)c * plane + (size_t)clamp(y - dy, height_) * (size_t)width_;
      uint8_t* to = image + (size_t)c * plane + (size_t)y * (size_t)width_;
      for (int32_t x = 0; x < width_; x++) to[x] = from[clamp((flip ? width_ - 1 - x : x) - dx, width_)];
    }
}

}  // namespace harness_train
