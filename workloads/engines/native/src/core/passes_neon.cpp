// The passes compiled for neon; its flags are given in CMakeLists.txt.
#include <arm_neon.h>

#include <cstring>

#include "passes.h"

#define HARNESS_PASSES_ISA "neon"
namespace harness {
namespace passes_neon {
// 64-bit lanes: their low halves multiplied, and stored.
typedef uint64_t Lanes64 __attribute__((vector_size(16)));
static inline Lanes64 multiply_low_halves(Lanes64 a, Lanes64 b) { return vmull_u32(vmovn_u64((uint64x2_t)a), vmovn_u64((uint64x2_t)b)); }
static inline void store_low_halves(Lanes64 a, uint32_t* out) {
  vst1_u32(out, vmovn_u64((uint64x2_t)a));
}
// Halves whose bit is clear become 0; 32 at a time.
static inline void mask_halves(Half* g, uint32_t bits) {
  for (uint32_t i = 0; i < 32; i++) g[i] &= (Half) - (Half)(bits >> i & 1u);
}
#include "passes_body.inc"
}  // namespace passes_neon
}  // namespace harness
