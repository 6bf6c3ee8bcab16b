// The kernels for AVX2 (compiled with its flags; see CMakeLists.txt).
#include <immintrin.h>

#include <cstring>

#include "../kernels.h"
#define HARNESS_ISA_NAMESPACE avx2
#define HARNESS_ISA_NAME "avx2"
#define HARNESS_ISA_FILE "isa_avx2.inc"
#define HARNESS_FORWARD_FILE "forward_harley_seal.inc"
#define HARNESS_FLOAT_VECTOR_BYTES 32
#include "simd_kernels.inc"
