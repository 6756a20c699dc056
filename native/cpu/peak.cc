#include "cpu/peak.h"

#include <cstring>

namespace residual::cpu {
namespace {

constexpr const PeakLoops* kPeaks[] = {
#if defined(__x86_64__)
    &kAmxPeaks,      &kAvx512VnniPeaks, &kAvx512Bf16Peaks, &kAvxVnniPeaks, &kAvx2Peaks,
#elif defined(__aarch64__)
    &kI8mmPeaks,
    &kBfmmlaPeaks,
    &kSdotPeaks,
#endif
    &kBaselinePeaks,
};

const PeakLoop* loop_of(const DotKernels* kernels, const PeakLoop PeakLoops::*precision) {
  if (!kernels) return nullptr;
  for (const PeakLoops* const peaks : kPeaks)
    if (std::strcmp(peaks->name, kernels->name) == 0 && (peaks->*precision).run) return &(peaks->*precision);
  return nullptr;
}

}  // namespace

const PeakLoop* find_peak_loop(const Isa& isa, core::Precision precision) {
  switch (precision) {
    case core::Precision::kInt8:
      return loop_of(isa.int8, &PeakLoops::int8);
    case core::Precision::kBf16:
      return loop_of(isa.bf16, &PeakLoops::bf16);
    default:
      return nullptr;
  }
}

}  // namespace residual::cpu
