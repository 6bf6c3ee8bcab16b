// The passes compiled for neon; its flags are given in CMakeLists.txt.
#include <cstring>

#include "passes.h"

#define HARNESS_PASSES_ISA "neon"
namespace harness {
namespace passes_neon {
#include "passes_body.inc"
}  // namespace passes_neon
}  // namespace harness
