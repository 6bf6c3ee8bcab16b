// The plain C++ kernels, for any processor: what every other set is compared with.
#include <cstring>

#include "../kernels.h"

namespace harness {
namespace generic {

#define HARNESS_UNROLL
typedef float FloatVector __attribute__((vector_size(16)));
enum { kFloatLanes = 4, kTileRows = 4 };
static inline FloatVector multiply_add(FloatVector a, FloatVector b, FloatVector sum) { return sum + a * b; }

#include "../plain/half.inc"
#include "../plain/half_loops.inc"
#include "../plain/convert.inc"
#include "../plain/bits.inc"
#include "../plain/output.inc"
#include "../plain/pool.inc"
#include "../plain/sgemm.inc"
#include "products.inc"

extern const Kernels kernels;
const Kernels kernels = {
    "generic",
#define HARNESS_KERNEL(result, name, arguments) name,
#include "../kernels.inc"
#undef HARNESS_KERNEL
};

}  // namespace generic
}  // namespace harness
