#include "passes.h"

#include <cstring>

namespace harness {

#define HARNESS_PASSES(isa)        \
  namespace passes_##isa {         \
  extern const Passes passes;      \
  }
HARNESS_PASSES(generic)
#if defined(HARNESS_BUILD_X86)
HARNESS_PASSES(avx2)
HARNESS_PASSES(avx512)
#endif
#if defined(HARNESS_BUILD_NEON)
HARNESS_PASSES(neon)
#endif

const Passes& passes_for(const Kernels& kernels) {
  const Passes* const tables[] = {
      &passes_generic::passes,
#if defined(HARNESS_BUILD_X86)
      &passes_avx2::passes, &passes_avx512::passes,
#endif
#if defined(HARNESS_BUILD_NEON)
      &passes_neon::passes,
#endif
  };
  for (const Passes* table : tables)
    if (strcmp(table->isa, kernels.isa) == 0) return *table;
  return passes_generic::passes;
}

}  // namespace harness
