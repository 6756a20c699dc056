// int8 convolutions with AVX-VNNI: 12 sums, two weights and a source of the 16 registers.
#if defined(__x86_64__) || defined(RESIDUAL_EMULATE)
#if defined(RESIDUAL_EMULATE)
#include "cpu/dot_finish_plain.h"
#include "cpu/emulated/avx_instructions.h"
#else
#include "cpu/dot_finish_avx2.h"
#endif
#include "cpu/dot_registers_impl.h"

namespace residual::cpu {
namespace {

// vpdpbusd multiplies uint8 sources with int8 weights; `kIsSigned` sources are moved by 128.
template <bool kIsSigned>
struct Registers {
  static constexpr int kRows = kIsSigned ? 5 : 6, kPanels = 1;
  static constexpr bool kFlips = kIsSigned;

  template <int kRowCount, int kPanelCount>
  static void sum(const RegisterTask& task) {
    static_assert(kPanelCount == 1);
    __m256i sums[kRowCount][2];
#pragma GCC unroll 6
    for (int r = 0; r < kRowCount; r++)
#pragma GCC unroll 2
      for (int v = 0; v < 2; v++) sums[r][v] = load(task.start + v * 8);
    for_each_dword<kRowCount>(task, [&](const RowPointers<kRowCount>& rows, int at, const std::byte* weight) {
      __m256i weights[2];
#pragma GCC unroll 2
      for (int v = 0; v < 2; v++) weights[v] = load(weight + v * 32);
#pragma GCC unroll 6
      for (int r = 0; r < kRowCount; r++) {
        const __m256i source = repeated(rows[r] + at);
#pragma GCC unroll 2
        for (int v = 0; v < 2; v++) sums[r][v] = _mm256_dpbusd_avx_epi32(sums[r][v], source, weights[v]);
      }
    });
#pragma GCC unroll 6
    for (int r = 0; r < kRowCount; r++)
#pragma GCC unroll 2
      for (int v = 0; v < 2; v++)
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(task.sums + r * kSumColumns + v * 8), sums[r][v]);
  }

 private:
  static __m256i load(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }
  // A dword in every lane.
  static __m256i repeated(const std::byte* source) {
    int dword;
    std::memcpy(&dword, source, sizeof dword);
    const __m256i all = _mm256_set1_epi32(dword);
    return kIsSigned ? _mm256_xor_si256(all, _mm256_set1_epi8(-128)) : all;
  }
};

void run(const DotTask& task) {
  const FinishRows finish = finish_int8<FinishInt8>(task.output);
  task.is_signed ? run_in_registers<Registers<true>>(task, finish)
                 : run_in_registers<Registers<false>>(task, finish);
}

}  // namespace

extern const DotKernels kAvxVnniKernels = {"avxvnni", /*unit=*/4, /*block_rows=*/24, /*tile_rows=*/1, run};

}  // namespace residual::cpu
#endif
