// The multiply-adds of 8-bit integers that AVX2 has.
#if defined(__x86_64__)
#include <immintrin.h>

#include "cpu/peak_impl.h"

namespace residual::cpu {
namespace {
struct Int8 {
  using Vec = __m256i;
  static Vec step(Vec sum, Vec a, Vec b) {
    const Vec fours = _mm256_add_epi16(_mm256_maddubs_epi16(a, b), _mm256_maddubs_epi16(b, a));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(fours, b));
  }
};
}  // namespace
const PeakLoops kAvx2Peaks = {"avx2", chains_of<Int8>(64), {}};
}  // namespace residual::cpu
#endif
