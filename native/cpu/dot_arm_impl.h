// Sums of 2 rows times 2 columns in AArch64's vectors, by its matrix products: 8 int8 or 4 bf16 numbers of
// each. Included by one file per type, which has a struct of what multiplies.
#pragma once

#include <arm_neon.h>

#include "cpu/dot_finish_plain.h"
#include "cpu/dot_registers_impl.h"

namespace residual::cpu {
namespace {

// Products has multiply_add(sum, source, weight), all of them 16 bytes: sum has row 0's columns, then row
// 1's. A tap that has an odd number of dwords ends with one that is multiplied by zero.
template <typename Products>
struct MatrixRegisters {
  static constexpr int kRows = 6, kPanels = 1;
  static constexpr bool kFlips = false;
  static constexpr int kColumnPairs = kPanelColumns / 2;

  template <int kRowCount, int kPanelCount>
  static void sum(const RegisterTask& task) {
    static_assert(kPanelCount == 1);
    constexpr int kRowPairs = (kRowCount + 1) / 2;
    int32x4_t sums[kRowPairs][kColumnPairs];
#pragma GCC unroll 8
    for (int k = 0; k < kColumnPairs; k++) {
      const int32x2_t start = vld1_s32(task.start + 2 * k);
#pragma GCC unroll 3
      for (int r = 0; r < kRowPairs; r++) sums[r][k] = vcombine_s32(start, start);
    }
    const int32_t* weight = reinterpret_cast<const int32_t*>(task.weight);
    for (int tap = 0; tap < task.tap_count; tap++) {
      const std::byte* source = task.source + task.taps[tap];
      int left = task.depth;
      for (; left >= 8; left -= 8, source += 8, weight += 2 * kPanelColumns)
        add<kRowCount, 2>(sums, source, task.row_stride, weight);
      if (left > 0) {
        add<kRowCount, 1>(sums, source, task.row_stride, weight);
        weight += kPanelColumns;
      }
    }
#pragma GCC unroll 6
    for (int r = 0; r < kRowCount; r++)
#pragma GCC unroll 8
      for (int k = 0; k < kColumnPairs; k++) {
        const int32x4_t both = sums[r / 2][k];
        vst1_s32(task.sums + r * kSumColumns + 2 * k, r % 2 ? vget_high_s32(both) : vget_low_s32(both));
      }
  }

 private:
  // Adds the products of one or two dwords of each row.
  template <int kRowCount, int kDwords>
  static inline __attribute__((always_inline)) void add(int32x4_t (*sums)[kColumnPairs],
                                                        const std::byte* source, size_t row_stride,
                                                        const int32_t* weight) {
    constexpr int kRowPairs = (kRowCount + 1) / 2;
    int32x4_t rows[kRowPairs];
#pragma GCC unroll 3
    for (int r = 0; r < kRowPairs; r++) {
      const std::byte* const first = source + 2 * r * row_stride;
      const std::byte* const second = 2 * r + 1 < kRowCount ? first + row_stride : first;
      rows[r] = vcombine_s32(dwords<kDwords>(first), dwords<kDwords>(second));
    }
#pragma GCC unroll 4
    for (int k = 0; k < kColumnPairs; k += 2) {
      const int32x4_t upper = vld1q_s32(weight + 2 * k);
      const int32x4_t lower = kDwords == 2 ? vld1q_s32(weight + kPanelColumns + 2 * k) : vdupq_n_s32(0);
      const int32x4_t columns[2] = {vzip1q_s32(upper, lower), vzip2q_s32(upper, lower)};
#pragma GCC unroll 3
      for (int r = 0; r < kRowPairs; r++)
#pragma GCC unroll 2
        for (int i = 0; i < 2; i++) Products::multiply_add(sums[r][k + i], rows[r], columns[i]);
    }
  }

  // Two dwords of a row, or one and zero.
  template <int kDwords>
  static int32x2_t dwords(const std::byte* source) {
    int32_t dword[2] = {};
    std::memcpy(dword, source, kDwords * sizeof(int32_t));
    return vld1_s32(dword);
  }
};

}  // namespace
}  // namespace residual::cpu
