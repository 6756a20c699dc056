// The multiply-adds of AVX-VNNI.
#if defined(__x86_64__)
#include <immintrin.h>

#include "cpu/peak_impl.h"

namespace residual::cpu {
namespace {
struct Int8 {
  using Vec = __m256i;
  static Vec step(Vec sum, Vec a, Vec b) { return _mm256_dpbusd_avx_epi32(sum, a, b); }
};
}  // namespace
const PeakLoops kAvxVnniPeaks = {"avxvnni", chains_of<Int8>(32), {}};
}  // namespace residual::cpu
#endif
