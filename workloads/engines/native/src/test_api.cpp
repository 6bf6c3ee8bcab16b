// What the tests and the benchmark see of the kernels: any function of any table, by name.
#include <cstring>

#include "kernels.h"

#define HARNESS_API extern "C" __attribute__((visibility("default")))

namespace {

const void* function_in(const harness::Kernels& kernels, const char* name) {
#define HARNESS_KERNEL(result, kernel, arguments) \
  if (strcmp(name, #kernel) == 0) return reinterpret_cast<const void*>(kernels.kernel);
#include "kernels.inc"
#undef HARNESS_KERNEL
  return nullptr;
}

}  // namespace

// Names of the instruction sets that this processor runs, best last; NULL past the end.
HARNESS_API const char* harness_isa_name(int32_t index) {
  const harness::Kernels* kernels = harness::available_kernels(index);
  return kernels ? kernels->isa : nullptr;
}

// The set in use (HARNESS_ISA considered), or NULL; harness_isa_error() then says why.
HARNESS_API const char* harness_isa_selected() {
  const harness::Kernels* kernels = harness::select_kernels_or_null();
  return kernels ? kernels->isa : nullptr;
}

HARNESS_API const char* harness_isa_error() { return harness::select_error(); }

// The address of kernel `name` (a row of kernels.inc) of instruction set `isa`, or NULL.
HARNESS_API const void* harness_kernel(const char* isa, const char* name) {
  for (int32_t i = 0; const harness::Kernels* kernels = harness::available_kernels(i); i++)
    if (strcmp(kernels->isa, isa) == 0) return function_in(*kernels, name);
  return nullptr;
}

// The compiler the core was built with, for records of a benchmark.
HARNESS_API const char* harness_compiler() {
#if defined(__clang__)
  return "clang " __clang_version__;
#else
  return "gcc " __VERSION__;
#endif
}
