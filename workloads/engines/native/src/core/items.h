// The items of a data set, by number: the order of an epoch, noise, shifts and mirrors. The modules of
// workloads/datasets (mix.py, shuffle.py, sources.py, augment.py) define them and are the reference, bit for bit.
#ifndef HARNESS_ITEMS_H
#define HARNESS_ITEMS_H

#include <cstddef>
#include <cstdint>

namespace harness {

// What the first word of a draw is for: as in mix.py.
enum Stream : uint64_t { kShuffle = 1, kAugment = 2, kNoise = 3, kNoiseItem = 4 };

constexpr size_t kNoiseBytes = 1 << 16;

inline uint64_t mix64(uint64_t z) {
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ z >> 27) * 0x94D049BB133111EBull;
  return z ^ z >> 31;
}
inline uint64_t absorb(uint64_t state, uint64_t word) { return mix64((state ^ word) + 0x9E3779B97F4A7C15ull); }
inline uint64_t draw(uint64_t a, uint64_t b) { return absorb(absorb(0, a), b); }
inline uint64_t draw(uint64_t a, uint64_t b, uint64_t c) { return absorb(draw(a, b), c); }

// What is done to one image: shift right and down in pixels, then mirror left to right.
struct Move {
  int32_t dx, dy;
  bool flip;
};

struct Shape {
  int32_t channels, height, width;
};

// Reads `bytes` at a position. False where the file ends before, or fails; errno is then 0 or what failed.
bool read_whole(int file, int64_t position, int64_t bytes, uint8_t* to);

// The item at a position of an order of `count` items, by its six tables.
int64_t item_at(const uint16_t* const* tables, int32_t right_bits, int64_t count, int64_t position);

// An image cut from the block of noise, from where the low 16 of an item's bits say.
void noise_image(const uint8_t* block, uint64_t bits, int64_t bytes, uint8_t* image);

Move move_of(uint64_t bits, int32_t max_dx, int32_t max_dy, bool flips);

// Moves an image in place; `row` is room for one row.
void move_image(uint8_t* image, const Shape& shape, Move move, uint8_t* row);

}  // namespace harness

#endif
