// The multiply-adds of AVX512_BF16.
#if defined(__x86_64__)
#include <immintrin.h>

#include "cpu/peak_impl.h"

namespace residual::cpu {
namespace {
struct Bf16 {
  using Vec = __m512;
  static Vec step(Vec sum, Vec a, Vec b) { return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b); }
};
}  // namespace
const PeakLoops kAvx512Bf16Peaks = {"avx512bf16", {}, chains_of<Bf16>(32)};
}  // namespace residual::cpu
#endif
