// int8 convolutions with AVX-VNNI.
#if defined(__x86_64__) || defined(RESIDUAL_EMULATE)
#include "cpu/dot_avx_impl.h"
#include "cpu/dot_winograd_impl.h"

namespace residual::cpu {
namespace {

// vpdpbusd multiplies uint8 sources with int8 weights.
struct UnsignedProducts {
  static constexpr bool kFlips = false;
  static __m256i repeated(const std::byte* source) { return repeated_dword(source); }
  static void multiply_add(__m256i& sum, __m256i source, __m256i weight) {
    sum = _mm256_dpbusd_avx_epi32(sum, source, weight);
  }
};

struct SignedProducts : UnsignedProducts {
  static constexpr bool kFlips = true;
  static __m256i repeated(const std::byte* source) {
    return _mm256_xor_si256(repeated_dword(source), _mm256_set1_epi8(-128));
  }
};

// Pairs of int16.
struct WordProducts {
  static constexpr bool kFlips = false;
  static __m256i repeated(const std::byte* source) { return repeated_dword(source); }
  static void multiply_add(__m256i& sum, __m256i source, __m256i weight) {
    sum = _mm256_dpwssd_avx_epi32(sum, source, weight);
  }
};

void run(const DotTask& task) {
  const FinishRows finish = finish_int8<FinishInt8>(task.output);
  task.is_signed ? run_in_registers<AvxRegisters<SignedProducts>>(task, finish)
                 : run_in_registers<AvxRegisters<UnsignedProducts>>(task, finish);
}

void run_winograd(const DotWinogradTask& task) {
  run_winograd_in_registers<AvxRegisters<WordProducts>, /*kLanes=*/8>(
      task, finish_int8<FinishInt8>(task.dot.output));
}

constexpr DotWinogradKernels kWinograd = {/*product_cost=*/2, /*most_weights=*/256 * 256,
                                          /*least_patches=*/48, winograd_input</*kLanes=*/16>, run_winograd};

}  // namespace

extern const DotKernels kAvxVnniKernels = {"avxvnni",       /*unit=*/4, /*block_rows=*/24,
                                           /*tile_rows=*/1, run,        &kWinograd};

}  // namespace residual::cpu
#endif
