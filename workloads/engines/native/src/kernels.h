// The kernels of the native engine: one table of function pointers per instruction set.
//
// The table is chosen once, at load (`select_kernels_or_null()` gives it). Every table has the same rows (kernels.inc)
// and gives the same integers; `generic` is the plain C++ that the others are tested against.
//
// Conventions, the same everywhere:
//  * Maps are NHWC. A "row" is one pixel (or one sample of a dense layer): its channels, contiguous.
//  * Bits are packed along the channels into little-endian 64-bit words, ceil(C / 64) words a row;
//    the bits past C in the last word are ZERO in every input and in every output.
//  * A set bit means +1, a clear one -1, and sgn(0) = +1.
//  * Weights are [output][kernel row][kernel column][input channel], bits along the last.
//  * Zero padding contributes nothing: a padded position is neither +1 nor -1.
//  * A dense layer is a convolution of 1x1 images with kernel 1: see dense_shape().
//  * No kernel allocates, locks or throws. Scratch and prepared weights come from the caller,
//    64-byte aligned, of the size the matching *_bytes row names. Calls on disjoint ranges may run
//    in parallel, each with its own scratch.
#ifndef HARNESS_KERNELS_H
#define HARNESS_KERNELS_H

#include <cstddef>
#include <cstdint>

namespace harness {

using Half = uint16_t;  // the bits of an IEEE binary16 number

// One convolution. `images` is how many images THIS CALL works on: to split a batch, advance the
// pointers and pass fewer. kernel 1 or 3 are tuned, any works; stride 2 runs on the generic path.
struct ConvShape {
  int32_t images;
  int32_t height, width;  // of the input
  int32_t in_channels, out_channels;
  int32_t kernel, pad, stride;
};

struct Range {  // [begin, end)
  int32_t begin, end;
};

constexpr ConvShape dense_shape(int32_t batch, int32_t inputs, int32_t outputs) {
  return {batch, 1, 1, inputs, outputs, 1, 0, 1};
}
constexpr int32_t out_height(const ConvShape& s) {
  return (s.height + 2 * s.pad - s.kernel) / s.stride + 1;
}
constexpr int32_t out_width(const ConvShape& s) {
  return (s.width + 2 * s.pad - s.kernel) / s.stride + 1;
}
constexpr int32_t words_for(int32_t channels) { return (channels + 63) / 64; }
constexpr int32_t taps(const ConvShape& s) { return s.kernel * s.kernel; }

// What the rows of a gradient hold. The int8 formats bound |value|, which is what lets several
// table lookups share a byte. kFloat16 is turned into q = round(value * inverse_step), |q| <= 4000,
// as two digits q = 63 * high + low, |high| <= 63, |low| <= 31: with inverse_step =
// 4000 / max|value| an element is off by at most max|value| / 8000, and all sums of q are exact.
enum GradientFormat : int32_t {
  kInt5 = 5,  // int8, |value| <= 15: four lookups a byte
  kInt6 = 6,  // int8, |value| <= 31: two
  kInt7 = 7,  // int8, |value| <= 63: one
  kFloat16 = 16,
};
constexpr int32_t kDigitBase = 63;
constexpr int32_t kTwoDigitLimit = 4000;

struct Gradient {
  const void* values;  // [images][out_height][out_width][out_channels] of int8 or Half
  GradientFormat format;
  float inverse_step;  // kFloat16 only
};

// Where a product of integers goes: sum * scale for the float types, the sum itself for the integer
// types (scale ignored; kInt16 wraps, the caller knows the bound). float16 rounds to nearest even.
enum OutputType : int32_t { kOutInt16 = 0, kOutInt32 = 1, kOutFloat16 = 2, kOutFloat32 = 3 };

struct Output {
  void* values;  // whole rows; a call writes only the channels of its range
  OutputType type;
  float scale;
};

// Rounding of the quantisers. Stochastic rounding draws the element's 16 bits from Philox4x32-7 at
// (seed, stream, element index), so neither threads nor instruction sets change the outcome.
struct Rounding {
  int32_t stochastic;  // 0: to nearest, ties to even
  uint64_t seed;
  uint64_t stream;       // what is rounded: a layer, a step
  uint64_t first_index;  // index of x[0] within the stream; a multiple of 8
};

// Rows of A in a float32 product: a block of the depth, and a line of cache more, so that rows are not a power of two apart.
// A tile reads, and drops, up to kRowSlack rows past the last.
constexpr int32_t kBlockDepth = 256, kRowStride = kBlockDepth + 16, kRowSlack = 11;

struct Kernels {
  const char* isa;  // "generic", "avx2", "avx512", "neon"
#define HARNESS_KERNEL(result, name, arguments) result(*name) arguments;
#include "kernels.inc"
#undef HARNESS_KERNEL
};

// The table in use: the best one the processor runs, or the one HARNESS_ISA names. nullptr when
// HARNESS_ISA names none; select_error() then says what there is.
const Kernels* select_kernels_or_null();
const char* select_error();

// Tables this build holds and this processor runs, best last; nullptr past the end.
const Kernels* available_kernels(int32_t index);

}  // namespace harness

#endif
