// Sums in AVX-512's 32 registers: 28 of them, two weights, and a source that is repeated in all lanes.
// Included by one file per instruction, which has a struct of what multiplies.
#pragma once

#if defined(RESIDUAL_EMULATE)
#include "cpu/dot_finish_plain.h"
#include "cpu/emulated/avx_instructions.h"
#else
#include "cpu/dot_finish_avx512.h"
#endif
#include "cpu/dot_registers_impl.h"

namespace residual::cpu {
namespace {

// Products has kFlips (dot_registers_impl.h), __m512i repeated(source), and multiply_add(sum, source,
// weight).
template <typename Products>
struct Avx512Registers {
  static constexpr bool kFlips = Products::kFlips;
  static constexpr int kRows = kFlips ? 12 : 14, kPanels = 2;  // flipping takes a register

  template <int kRowCount, int kPanelCount>
  static void sum(const RegisterTask& task) {
    __m512i sums[kRowCount][kPanelCount];
#pragma GCC unroll 14
    for (int r = 0; r < kRowCount; r++)
#pragma GCC unroll 2
      for (int p = 0; p < kPanelCount; p++) sums[r][p] = _mm512_load_si512(task.start + p * kPanelColumns);
    for_each_dword<kRowCount>(task, [&](const RowPointers<kRowCount>& rows, int at, const std::byte* weight) {
      __m512i weights[kPanelCount];
#pragma GCC unroll 2
      for (int p = 0; p < kPanelCount; p++) weights[p] = _mm512_load_si512(weight + p * task.panel_bytes);
#pragma GCC unroll 14
      for (int r = 0; r < kRowCount; r++) {
        const __m512i source = Products::repeated(rows[r] + at);
#pragma GCC unroll 2
        for (int p = 0; p < kPanelCount; p++) Products::multiply_add(sums[r][p], source, weights[p]);
      }
    });
#pragma GCC unroll 14
    for (int r = 0; r < kRowCount; r++)
#pragma GCC unroll 2
      for (int p = 0; p < kPanelCount; p++)
        _mm512_store_si512(task.sums + r * kSumColumns + p * kPanelColumns, sums[r][p]);
  }
};

// A dword in every lane.
inline __m512i repeated_dword(const std::byte* source) {
  int dword;
  std::memcpy(&dword, source, sizeof dword);
  return _mm512_set1_epi32(dword);
}

}  // namespace
}  // namespace residual::cpu
