#include "cpu/isa.h"

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

#include "core/error.h"
#include "cpu/amx.h"
#include "cpu/bf16_gain.h"
#include "cpu/x86_features.h"
#if defined(RESIDUAL_EMULATED_KERNELS)
#include "cpu/emulated/kernels.h"
#endif

namespace residual::cpu {
namespace {

#if defined(__x86_64__)

void find_processors(std::vector<Isa>& result) {
  const X86Features has = x86_features();
  if (amx_available()) result.push_back({"amx", &kAvx512Kernels, &kAmxInt8Kernels, &kAmxBf16Kernels});
  const DotKernels* const bf16 = has.avx512bf16 && avx512bf16_gains() ? &kAvx512Bf16Kernels : nullptr;
  if (has.avx512vnni) result.push_back({"avx512vnni", &kAvx512Kernels, &kVnniKernels, bf16});
  if (has.avx512) result.push_back({"avx512", &kAvx512Kernels, &kAvx2Int8Kernels, nullptr});
  if (has.avxvnni) result.push_back({"avxvnni", &kAvx2Kernels, &kAvxVnniKernels, nullptr});
  if (has.avx2) result.push_back({"avx2", &kAvx2Kernels, &kAvx2Int8Kernels, nullptr});
}

#elif defined(__aarch64__)

#if defined(__linux__)

// Of AT_HWCAP and AT_HWCAP2 (Linux, Documentation/arch/arm64/elf_hwcaps.rst); older headers lack them.
bool has_dot_products() { return getauxval(AT_HWCAP) & 1ul << 20; }
bool has_i8mm() { return getauxval(AT_HWCAP2) & 1ul << 13; }
bool has_bf16() { return getauxval(AT_HWCAP2) & 1ul << 14; }

#elif defined(__APPLE__)

bool has_feature(const char* name) {
  int value = 0;
  size_t size = sizeof value;
  return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value != 0;
}
bool has_dot_products() { return has_feature("hw.optional.arm.FEAT_DotProd"); }
bool has_i8mm() { return has_feature("hw.optional.arm.FEAT_I8MM"); }
bool has_bf16() { return has_feature("hw.optional.arm.FEAT_BF16"); }

#else

bool has_dot_products() { return false; }
bool has_i8mm() { return false; }
bool has_bf16() { return false; }

#endif

void find_processors(std::vector<Isa>& result) {
  if (has_i8mm())
    result.push_back({"i8mm", &kBaselineKernels, &kI8mmKernels, has_bf16() ? &kBfmmlaKernels : nullptr});
  if (has_dot_products()) result.push_back({"sdot", &kBaselineKernels, &kSdotKernels, nullptr});
}

#else

void find_processors(std::vector<Isa>&) {}

#endif

std::vector<Isa> find_isas() {
  std::vector<Isa> result;
  find_processors(result);
  result.push_back({"baseline", &kBaselineKernels, &kBaselineInt8Kernels, nullptr});
#if defined(RESIDUAL_EMULATED_KERNELS)
  result.push_back({"amx-emulated", &kBaselineKernels, &kEmulatedAmxInt8Kernels, &kEmulatedAmxBf16Kernels});
  result.push_back(
      {"avx512vnni-emulated", &kBaselineKernels, &kEmulatedVnniKernels, &kEmulatedAvx512Bf16Kernels});
  result.push_back({"avxvnni-emulated", &kBaselineKernels, &kEmulatedAvxVnniKernels, nullptr});
#endif
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
