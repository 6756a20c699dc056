// The multiply-adds of AVX-512 VNNI.
#if defined(__x86_64__)
#include <immintrin.h>

#include "cpu/peak_impl.h"

namespace residual::cpu {
namespace {
struct Int8 {
  using Vec = __m512i;
  static Vec step(Vec sum, Vec a, Vec b) { return _mm512_dpbusd_epi32(sum, a, b); }
};
}  // namespace
const PeakLoops kAvx512VnniPeaks = {"avx512vnni", chains_of<Int8>(64), {}};
}  // namespace residual::cpu
#endif
