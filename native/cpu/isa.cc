#include "cpu/isa.h"

#include "core/error.h"
#include "cpu/amx.h"

namespace residual::cpu {
namespace {

std::vector<Isa> find_isas() {
  std::vector<Isa> result;
#if defined(__x86_64__)
  // These builtins also ask the operating system (XGETBV): they do not report registers that it does not
  // save.
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  const bool avx512bf16 = avx512 && __builtin_cpu_supports("avx512bf16");
  if (avx512bf16 && amx_available())
    result.push_back({"amx", &kAvx512Kernels, &kAmxInt8Kernels, &kAmxBf16Kernels});
  if (avx512) result.push_back({"avx512", &kAvx512Kernels, nullptr, nullptr});
  if (avx2) result.push_back({"avx2", &kAvx2Kernels, nullptr, nullptr});
#endif
  result.push_back({"baseline", &kBaselineKernels, nullptr, nullptr});
  return result;
}

}  // namespace

const std::vector<Isa>& supported_isas() {
  static const std::vector<Isa> isas = find_isas();
  return isas;
}

const Isa& select_isa(const std::string& name) {
  const std::vector<Isa>& supported = supported_isas();
  if (name.empty()) return supported.front();
  std::string names;
  for (const Isa& isa : supported) {
    if (name == isa.name) return isa;
    names += names.empty() ? isa.name : std::string(", ") + isa.name;
  }
  throw core::Error(
      core::ErrorCode::kBackendUnavailable,
      "The instruction set '" + name + "' is not available on this machine, which has " + names + ".");
}

}  // namespace residual::cpu
