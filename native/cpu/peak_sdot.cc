// The multiply-adds of AArch64's dot products of bytes (FEAT_DotProd).
#if defined(__aarch64__)
#include <arm_neon.h>

#include "cpu/peak_impl.h"

namespace residual::cpu {
namespace {
struct Int8 {
  using Vec = int32x4_t;
  static Vec step(Vec sum, Vec a, Vec b) {
    return vdotq_s32(sum, vreinterpretq_s8_s32(a), vreinterpretq_s8_s32(b));
  }
};
}  // namespace
const PeakLoops kSdotPeaks = {"sdot", chains_of<Int8>(16), {}};
}  // namespace residual::cpu
#endif
