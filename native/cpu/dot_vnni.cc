// int8 convolutions with AVX-512 VNNI.
#if defined(__x86_64__) || defined(RESIDUAL_EMULATE)
#include "cpu/dot_avx512_impl.h"
#include "cpu/dot_winograd_impl.h"

namespace residual::cpu {
namespace {

// vpdpbusd multiplies uint8 sources with int8 weights.
struct UnsignedProducts {
  static constexpr bool kFlips = false;
  static __m512i repeated(const std::byte* source) { return repeated_dword(source); }
  static void multiply_add(__m512i& sum, __m512i source, __m512i weight) {
    sum = _mm512_dpbusd_epi32(sum, source, weight);
  }
};

struct SignedProducts : UnsignedProducts {
  static constexpr bool kFlips = true;
  static __m512i repeated(const std::byte* source) {
    return _mm512_xor_si512(repeated_dword(source), _mm512_set1_epi8(-128));
  }
};

// Pairs of int16.
struct WordProducts {
  static constexpr bool kFlips = false;
  static __m512i repeated(const std::byte* source) { return repeated_dword(source); }
  static void multiply_add(__m512i& sum, __m512i source, __m512i weight) {
    sum = _mm512_dpwssd_epi32(sum, source, weight);
  }
};

void run(const DotTask& task) {
  const FinishRows finish = finish_int8<FinishInt8>(task.output);
  task.is_signed ? run_in_registers<Avx512Registers<SignedProducts>>(task, finish)
                 : run_in_registers<Avx512Registers<UnsignedProducts>>(task, finish);
}

void run_winograd(const DotWinogradTask& task) {
  run_winograd_in_registers<Avx512Registers<WordProducts>, /*kLanes=*/16>(
      task, finish_int8<FinishInt8>(task.dot.output));
}

constexpr DotWinogradKernels kWinograd = {/*product_cost=*/2, /*most_weights=*/256 * 256,
                                          /*least_patches=*/48, winograd_input</*kLanes=*/32>, run_winograd};

}  // namespace

extern const DotKernels kVnniKernels = {"avx512vnni",    /*unit=*/4, /*block_rows=*/28,
                                        /*tile_rows=*/1, run,        &kWinograd};

}  // namespace residual::cpu
#endif
