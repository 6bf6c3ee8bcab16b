// The items of a data set, by number; what is done for a batch of them stands at the end of core.h. The modules of
// workloads/datasets (mix.py, shuffle.py, sources.py, augment.py) define it and are the reference, bit for bit.
#ifndef HARNESS_ITEMS_H
#define HARNESS_ITEMS_H

#include <cstddef>
#include <cstdint>

#include "core.h"

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

// The part of a column that an item lies in.
inline int32_t part_of(const harness_column& column, int64_t item) {
  int32_t part = column.parts - 1;
  while (column.starts[part] > item) part--;
  return part;
}

}  // namespace harness

#endif
