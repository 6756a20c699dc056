// The multiply-adds of AArch64's matrix products of bytes (FEAT_I8MM).
#if defined(__aarch64__)
#include <arm_neon.h>

#include "cpu/peak_impl.h"

namespace residual::cpu {
namespace {
struct Int8 {
  using Vec = int32x4_t;
  static Vec step(Vec sum, Vec a, Vec b) {
    return vmmlaq_s32(sum, vreinterpretq_s8_s32(a), vreinterpretq_s8_s32(b));
  }
};
}  // namespace
const PeakLoops kI8mmPeaks = {"i8mm", chains_of<Int8>(32), {}};
}  // namespace residual::cpu
#endif
