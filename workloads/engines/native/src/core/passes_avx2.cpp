// The passes compiled for avx2; its flags are given in CMakeLists.txt.
#include <cstring>

#include "passes.h"

#define HARNESS_PASSES_ISA "avx2"
namespace harness {
namespace passes_avx2 {
#include "passes_body.inc"
}  // namespace passes_avx2
}  // namespace harness
