// The passes: one table per instruction set, chosen together with the kernels.
#ifndef HARNESS_PASSES_H
#define HARNESS_PASSES_H

#include "../kernels.h"

namespace harness {

struct Passes {
  const char* isa;
#define HARNESS_PASS(result, name, arguments) result(*name) arguments;
#include "passes.inc"
#undef HARNESS_PASS
};

// The table of the same instruction set as `kernels`; plain C++ if it has none of its own.
const Passes& passes_for(const Kernels& kernels);

}  // namespace harness

#endif
