// The passes compiled for generic; its flags are given in CMakeLists.txt.
#include <cstring>

#include "passes.h"

#define HARNESS_PASSES_ISA "generic"
namespace harness {
namespace passes_generic {
// 64-bit lanes: their low halves multiplied, and stored.
typedef uint64_t Lanes64 __attribute__((vector_size(16)));
static inline Lanes64 multiply_low_halves(Lanes64 a, Lanes64 b) { return (a & 0xFFFFFFFFu) * (b & 0xFFFFFFFFu); }
static inline void store_low_halves(Lanes64 a, uint32_t* out) {
  for (uint32_t j = 0; j < sizeof(Lanes64) / 8; j++) out[j] = (uint32_t)a[j];
}
// Halves whose bit is clear become 0; 32 at a time.
static inline void mask_halves(Half* g, uint32_t bits) {
  for (uint32_t i = 0; i < 32; i++) g[i] &= (Half) - (Half)(bits >> i & 1u);
}
#include "passes_body.inc"
}  // namespace passes_generic
}  // namespace harness
