// The products of `standard` that are sums of real numbers, in float32: float_path.cpp and float_scatter.cpp.
//
// Every sum runs over its terms in one order, in blocks of kBlockDepth, whatever the number of threads: units never share
// an output, and where the blocks of the depth begin is fixed.
#ifndef HARNESS_FLOAT_PATH_H
#define HARNESS_FLOAT_PATH_H

#include "internal.h"

namespace harness {

enum { kUnitFloats = 1 << 17 };  // of C, which a unit goes over again and again: they stay in L2

struct Rows {
  size_t first;
  int32_t count;
};

inline int32_t smaller(int32_t a, int32_t b) { return a < b ? a : b; }
inline int32_t divided_up(int32_t a, int32_t b) { return (a + b - 1) / b; }
inline int32_t panels_of(const Network& net, int32_t columns) { return divided_up(columns, net.kernels->panel_columns()); }
// A thread's rows of A, kRowStride values each, after a place for each of kBlockRows.
inline int32_t* places_of(const Network& net, int32_t thread) { return (int32_t*)kernel_scratch(net, thread); }
inline float* gathered(const Network& net, int32_t thread) { return (float*)kernel_scratch(net, thread) + kBlockRows; }

// Chunks of the outputs that a block of rows holds at once, for all taps to read; too many are taken anew for every tap.
inline int32_t held_chunks(const Stage& s) {
  const int32_t chunks = divided_up(s.out_channels, kBlockDepth);
  return s.kernel > 1 && chunks <= 16 ? chunks : 1;
}
// Rows of one of several chunks: two of them hold whole blocks.
inline int32_t held_rows(const Stage& s) { return smaller(kBlockRows, 2 * kBlockRows / held_chunks(s)); }

}  // namespace harness

#endif
