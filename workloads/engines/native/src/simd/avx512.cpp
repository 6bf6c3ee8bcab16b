// The kernels for AVX-512 (compiled with its flags; see CMakeLists.txt).
#include <immintrin.h>

#include <cstring>

#include "../kernels.h"
#define HARNESS_ISA_NAMESPACE avx512
#define HARNESS_ISA_NAME "avx512"
#define HARNESS_ISA_FILE "isa_avx512.inc"
#define HARNESS_FORWARD_FILE "forward_harley_seal.inc"
#define HARNESS_FLOAT_VECTOR_BYTES 64
#include "simd_kernels.inc"
