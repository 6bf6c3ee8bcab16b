// Chooses the kernel table once: the best instruction set this processor has, or HARNESS_ISA.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "kernels.h"

#if defined(__aarch64__)
#include <sys/auxv.h>
#elif defined(HARNESS_BUILD_X86)
#include <cpuid.h>
#endif

namespace harness {

namespace generic {
extern const Kernels kernels;
}
#if defined(HARNESS_BUILD_X86)
namespace avx2 {
extern const Kernels kernels;
}
namespace avx512 {
extern const Kernels kernels;
}
#endif
#if defined(HARNESS_BUILD_NEON)
namespace neon {
extern const Kernels kernels;
}
#endif

namespace {

bool always() { return true; }

#if defined(HARNESS_BUILD_X86)
// Not every compiler knows this one by name. (Intel SDM vol. 2A, CPUID leaf 1: ECX bit 29)
bool has_f16c() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & 1u << 29);
}
// All that the flags of these sets let the compiler use: a virtual machine may hide any of them.
bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
         __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt") && has_f16c();
}
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
#endif
#if defined(HARNESS_BUILD_NEON)
bool has_neon() {
  const unsigned long advanced_simd = 1ul << 1;  // HWCAP_ASIMD
  return getauxval(AT_HWCAP) & advanced_simd;
}
#endif

struct Candidate {
  const Kernels* kernels;
  bool (*supported)();
};

// Best last.
const Candidate kCandidates[] = {
    {&generic::kernels, always},
#if defined(HARNESS_BUILD_X86)
    {&avx2::kernels, has_avx2},
    {&avx512::kernels, has_avx512},
#endif
#if defined(HARNESS_BUILD_NEON)
    {&neon::kernels, has_neon},
#endif
};

char g_error[256];

const Kernels* find(const char* isa) {
  size_t used = (size_t)snprintf(g_error, sizeof g_error, "HARNESS_ISA=%.32s is not available here; there is:", isa);
  for (int32_t i = 0; const Kernels* kernels = available_kernels(i); i++) {
    if (strcmp(kernels->isa, isa) == 0) return kernels;
    used += (size_t)snprintf(g_error + used, sizeof g_error - used, " %s", kernels->isa);
  }
  return nullptr;
}

const Kernels* choose() {
#if defined(HARNESS_BUILD_X86)
  __builtin_cpu_init();  // this may run before the compiler's own constructor
#endif
  const char* forced = getenv("HARNESS_ISA");
  if (forced && *forced) return find(forced);
  const Kernels* best = nullptr;
  for (int32_t i = 0; const Kernels* kernels = available_kernels(i); i++) best = kernels;
  return best;
}

// At load, not at first use: no guard, and so nothing of the C++ library, is needed.
const Kernels* const g_chosen = choose();

}  // namespace

const Kernels* available_kernels(int32_t index) {
  for (const Candidate& candidate : kCandidates)
    if (candidate.supported() && index-- == 0) return candidate.kernels;
  return nullptr;
}

const Kernels* select_kernels_or_null() { return g_chosen; }

const char* select_error() { return select_kernels_or_null() ? "" : g_error; }

}  // namespace harness
