#include "cpu/isa.h"

#include "core/error.h"

namespace residual::cpu {

std::vector<const Kernels*> supported_kernels() {
  std::vector<const Kernels*> result;
#if defined(__x86_64__)
  // These builtins also ask the operating system (XGETBV): they do not report registers that it does not
  // save.
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    result.push_back(&kAvx512Kernels);
  if (avx2) result.push_back(&kAvx2Kernels);
#endif
  result.push_back(&kBaselineKernels);
  return result;
}

const Kernels& select_kernels(const std::string& name) {
  const std::vector<const Kernels*> supported = supported_kernels();
  if (name.empty()) return *supported.front();
  std::string names;
  for (const Kernels* kernels : supported) {
    if (name == kernels->name) return *kernels;
    names += names.empty() ? kernels->name : std::string(", ") + kernels->name;
  }
  throw core::Error(
      core::ErrorCode::kBackendUnavailable,
      "The instruction set '" + name + "' is not available on this machine, which has " + names + ".");
}

}  // namespace residual::cpu
