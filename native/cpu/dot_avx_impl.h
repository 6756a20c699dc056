// Sums in the 16 registers of AVX: 12 of them, two weights and a source; a 16th is free for what multiplies.
// Included by one file per instruction, which has a struct of what that is.
#pragma once

#if defined(RESIDUAL_EMULATE)
#include "cpu/dot_finish_plain.h"
#include "cpu/emulated/avx_instructions.h"
#else
#include "cpu/dot_finish_avx2.h"
#endif
#include "cpu/dot_registers_impl.h"

namespace residual::cpu {
namespace {

// Products has kFlips (dot_registers_impl.h), __m256i repeated(source), and multiply_add(sum, source,
// weight).
template <typename Products>
struct AvxRegisters {
  static constexpr bool kFlips = Products::kFlips;
  static constexpr int kRows = kFlips ? 5 : 6, kPanels = 1;  // flipping takes a register

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
        const __m256i source = Products::repeated(rows[r] + at);
#pragma GCC unroll 2
        for (int v = 0; v < 2; v++) Products::multiply_add(sums[r][v], source, weights[v]);
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
};

// A dword in every lane.
inline __m256i repeated_dword(const std::byte* source) {
  int dword;
  std::memcpy(&dword, source, sizeof dword);
  return _mm256_set1_epi32(dword);
}

}  // namespace
}  // namespace residual::cpu
