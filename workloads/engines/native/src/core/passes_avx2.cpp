// The passes compiled for avx2; its flags are given in CMakeLists.txt.
#include <immintrin.h>

#include <cstring>

#include "passes.h"

#define HARNESS_PASSES_ISA "avx2"
namespace harness {
namespace passes_avx2 {
// 64-bit lanes: their low halves multiplied, and stored.
typedef uint64_t Lanes64 __attribute__((vector_size(32)));
static inline Lanes64 multiply_low_halves(Lanes64 a, Lanes64 b) { return (Lanes64)_mm256_mul_epu32((__m256i)a, (__m256i)b); }
static inline void store_low_halves(Lanes64 a, uint32_t* out) {
  const __m256i even = _mm256_permutevar8x32_epi32((__m256i)a, _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6));
  _mm_storeu_si128((__m128i*)out, _mm256_castsi256_si128(even));
}
// Halves whose bit is clear become 0; 32 at a time.
static inline void mask_halves(Half* g, uint32_t bits) {
  const __m256i place = _mm256_setr_epi16(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, (int16_t)0x8000);
  for (int32_t i = 0; i < 2; i++) {
    const __m256i set = _mm256_and_si256(_mm256_set1_epi16((int16_t)(bits >> (16 * i))), place);
    __m256i* to = (__m256i*)(g + 16 * i);
    _mm256_storeu_si256(to, _mm256_and_si256(_mm256_cmpeq_epi16(set, place), _mm256_loadu_si256(to)));
  }
}
#include "passes_body.inc"
}  // namespace passes_avx2
}  // namespace harness
