// The passes compiled for generic; its flags are given in CMakeLists.txt.
#include <cstring>

#include "passes.h"

#define HARNESS_PASSES_ISA "generic"
namespace harness {
namespace passes_generic {
#include "passes_body.inc"
}  // namespace passes_generic
}  // namespace harness
