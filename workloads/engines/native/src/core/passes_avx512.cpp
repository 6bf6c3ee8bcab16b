// The passes compiled for avx512; its flags are given in CMakeLists.txt.
#include <cstring>

#include "passes.h"

#define HARNESS_PASSES_ISA "avx512"
namespace harness {
namespace passes_avx512 {
#include "passes_body.inc"
}  // namespace passes_avx512
}  // namespace harness
