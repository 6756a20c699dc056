// The multiply-adds of AArch64's matrix products of bf16 (FEAT_BF16).
#if defined(__aarch64__)
#include <arm_neon.h>

#include "cpu/peak_impl.h"

namespace residual::cpu {
namespace {
struct Bf16 {
  using Vec = float32x4_t;
  static Vec step(Vec sum, Vec a, Vec b) {
    return vbfmmlaq_f32(sum, vreinterpretq_bf16_f32(a), vreinterpretq_bf16_f32(b));
  }
};
}  // namespace
const PeakLoops kBfmmlaPeaks = {"bfmmla", {}, chains_of<Bf16>(16)};
}  // namespace residual::cpu
#endif
