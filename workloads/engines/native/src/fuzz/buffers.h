// Random inputs in buffers of exactly the right size, so that a sanitizer sees every stray access.
#ifndef HARNESS_FUZZ_BUFFERS_H
#define HARNESS_FUZZ_BUFFERS_H

#include <cstdlib>
#include <initializer_list>
#include <cstring>

#include "../kernels.h"

namespace fuzz {

struct Random {  // xorshift64*
  uint64_t state;
  uint64_t next() {
    state ^= state >> 12, state ^= state << 25, state ^= state >> 27;
    return state * 0x2545F4914F6CDD1Dull;
  }
  int32_t below(int32_t limit) { return (int32_t)((next() >> 33) % (uint64_t)limit); }
  int32_t between(int32_t low, int32_t high) { return low + below(high - low + 1); }
};

// `count` values, 64-byte aligned, filled with a pattern that no kernel should rely on.
template <typename T>
class Buffer {
 public:
  explicit Buffer(size_t count) : count_(count) {
    // Not aligned_alloc, which rounds the size up and so hides small overruns.
    const size_t bytes = count * sizeof(T);
    if (posix_memalign((void**)&data_, 64, bytes > 0 ? bytes : 1)) abort();
    memset((void*)data_, 0xA5, bytes);
  }
  ~Buffer() { free(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  operator T*() { return data_; }
  size_t size() const { return count_; }
  bool operator==(const Buffer& other) const {
    return count_ == other.count_ && memcmp(data_, other.data_, count_ * sizeof(T)) == 0;
  }

 private:
  T* data_ = nullptr;
  size_t count_;
};

inline void fill_bits(Random& random, uint64_t* bits, size_t rows, int32_t channels) {
  const int32_t words = harness::words_for(channels), tail = channels % 64;
  for (size_t row = 0; row < rows; row++, bits += words) {
    for (int32_t i = 0; i < words; i++) bits[i] = random.next() ^ random.next() << 7;
    if (tail) bits[words - 1] &= ((uint64_t)1 << tail) - 1;
  }
}

// Values of a gradient format, with the extremes well represented.
inline void fill_int8(Random& random, int8_t* values, size_t count, int32_t limit) {
  for (size_t i = 0; i < count; i++) {
    const int32_t kind = random.below(8);
    values[i] = (int8_t)(kind == 0 ? limit : kind == 1 ? -limit : kind == 2 ? 0 : random.between(-limit, limit));
  }
}

// Halves of magnitude below 2, zeros and subnormals among them.
inline void fill_halves(Random& random, harness::Half* values, size_t count) {
  for (size_t i = 0; i < count; i++) values[i] = (harness::Half)((random.next() >> 20 & 0x8000u) | (random.next() >> 20 & 0x3fffu));
}

}  // namespace fuzz

#endif
