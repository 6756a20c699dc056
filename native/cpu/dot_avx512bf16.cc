// bf16 convolutions with AVX512-BF16. Sums round otherwise than AMX's: dpbf16ps adds the second products of
// all 16 pairs of a tile's row first, this one dword after the other.
#if defined(__x86_64__) || defined(RESIDUAL_EMULATE)
#include "cpu/dot_avx512_impl.h"

namespace residual::cpu {
namespace {

struct Products {
  static constexpr bool kFlips = false;
  static __m512i repeated(const std::byte* source) { return repeated_dword(source); }
  static void multiply_add(__m512i& sum, const __m512i& source, const __m512i& weight) {
    __m512 total;
    __m512bh x, y;
    std::memcpy(&total, &sum, sizeof total);
    std::memcpy(&x, &source, sizeof x);
    std::memcpy(&y, &weight, sizeof y);
    total = _mm512_dpbf16_ps(total, x, y);
    std::memcpy(&sum, &total, sizeof sum);
  }
};

void run(const DotTask& task) {
  run_in_registers<Avx512Registers<Products>>(task, finish_bf16<FinishBf16>(task.output));
}

}  // namespace

extern const DotKernels kAvx512Bf16Kernels = {"avx512bf16", /*unit=*/4, /*block_rows=*/28, /*tile_rows=*/1,
                                              run};

}  // namespace residual::cpu
#endif
