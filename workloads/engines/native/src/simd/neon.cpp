// The kernels for NEON (compiled with its flags; see CMakeLists.txt).
#include <arm_neon.h>

#include <cstring>

#include "../kernels.h"
#define HARNESS_ISA_NAMESPACE neon
#define HARNESS_ISA_NAME "neon"
#define HARNESS_ISA_FILE "isa_neon.inc"
#define HARNESS_FORWARD_FILE "forward_count.inc"
#define HARNESS_FLOAT_VECTOR_BYTES 16
#include "simd_kernels.inc"
