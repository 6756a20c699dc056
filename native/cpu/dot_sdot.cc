// int8 convolutions with AArch64's dot products of bytes (FEAT_DotProd): 20 sums, four weights and five
// sources of the 32 registers.
#if defined(__aarch64__)
#include <arm_neon.h>

#include "cpu/dot_finish_plain.h"
#include "cpu/dot_registers_impl.h"

namespace residual::cpu {
namespace {

// sdot multiplies int8 with int8; uint8 sources are moved by 128.
template <bool kIsSigned>
struct Registers {
  static constexpr int kRows = 5, kPanels = 1;
  static constexpr bool kFlips = !kIsSigned;
  static constexpr int kVectors = kPanelColumns / 4;

  template <int kRowCount, int kPanelCount>
  static void sum(const RegisterTask& task) {
    static_assert(kPanelCount == 1);
    int32x4_t sums[kRowCount][kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; v++) {
      const int32x4_t start = vld1q_s32(task.start + 4 * v);
#pragma GCC unroll 5
      for (int r = 0; r < kRowCount; r++) sums[r][v] = start;
    }
    for_each_dword<kRowCount>(task, [&](const RowPointers<kRowCount>& rows, int at, const std::byte* weight) {
      int8x16_t weights[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; v++)
        weights[v] = vld1q_s8(reinterpret_cast<const int8_t*>(weight) + 16 * v);
#pragma GCC unroll 5
      for (int r = 0; r < kRowCount; r++) {
        const int8x16_t source = repeated(rows[r] + at);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; v++) sums[r][v] = vdotq_s32(sums[r][v], weights[v], source);
      }
    });
#pragma GCC unroll 5
    for (int r = 0; r < kRowCount; r++)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; v++) vst1q_s32(task.sums + r * kSumColumns + 4 * v, sums[r][v]);
  }

 private:
  // A dword in every lane.
  static int8x16_t repeated(const std::byte* source) {
    int32_t dword;
    std::memcpy(&dword, source, sizeof dword);
    const int8x16_t all = vreinterpretq_s8_s32(vdupq_n_s32(dword));
    return kIsSigned ? all : veorq_s8(all, vdupq_n_s8(-128));
  }
};

void run(const DotTask& task) {
  const FinishRows finish = finish_int8<FinishInt8>(task.output);
  task.is_signed ? run_in_registers<Registers<true>>(task, finish)
                 : run_in_registers<Registers<false>>(task, finish);
}

}  // namespace

extern const DotKernels kSdotKernels = {"sdot", /*unit=*/4, /*block_rows=*/20, /*tile_rows=*/1, run};

}  // namespace residual::cpu
#endif
