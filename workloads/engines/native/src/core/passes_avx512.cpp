// The passes compiled for avx512; its flags are given in CMakeLists.txt.
#include <immintrin.h>

#include <cstring>

#include "passes.h"

#define HARNESS_PASSES_ISA "avx512"
namespace harness {
namespace passes_avx512 {
// 64-bit lanes: their low halves multiplied, and stored.
typedef uint64_t Lanes64 __attribute__((vector_size(64)));
static inline Lanes64 multiply_low_halves(Lanes64 a, Lanes64 b) { return (Lanes64)_mm512_mul_epu32((__m512i)a, (__m512i)b); }
static inline void store_low_halves(Lanes64 a, uint32_t* out) {
  _mm256_storeu_si256((__m256i*)out, _mm512_cvtepi64_epi32((__m512i)a));
}
// Halves whose bit is clear become 0; 32 at a time.
static inline void mask_halves(Half* g, uint32_t bits) {
  _mm512_storeu_si512(g, _mm512_maskz_loadu_epi16(bits, g));
}
#include "passes_body.inc"
}  // namespace passes_avx512
}  // namespace harness
