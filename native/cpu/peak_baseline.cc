// The multiply-adds of integers that every processor has: 8 bits on AArch64, 16 on x86-64, whose SSE2 has
// none of 8.
#if defined(__x86_64__)
#include <emmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "cpu/peak_impl.h"

namespace residual::cpu {
namespace {
struct Int8 {
#if defined(__x86_64__)
  static constexpr int kMultiplyAdds = 8;
  using Vec = __m128i;
  static Vec step(Vec sum, Vec a, Vec b) { return _mm_add_epi32(sum, _mm_madd_epi16(a, b)); }
#elif defined(__aarch64__)
  static constexpr int kMultiplyAdds = 16;
  using Vec = int8x16_t;
  static Vec step(Vec sum, Vec a, Vec b) {
    const int16x8_t pairs = vmlal_high_s8(vmull_s8(vget_low_s8(a), vget_low_s8(b)), a, b);
    return vreinterpretq_s8_s32(vpadalq_s16(vreinterpretq_s32_s8(sum), pairs));
  }
#else
  static constexpr int kMultiplyAdds = 4;
  typedef int32_t Vec __attribute__((vector_size(16)));
  static Vec step(Vec sum, Vec a, Vec b) { return sum + a * b; }
#endif
};
}  // namespace
const PeakLoops kBaselinePeaks = {"baseline", chains_of<Int8>(Int8::kMultiplyAdds), {}};
}  // namespace residual::cpu
