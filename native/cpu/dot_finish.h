// Finishes the sums of a block: what dot_finish_avx512.h and dot_finish_plain.h, each for rows, have in
// common. In an unnamed namespace, as kernels_impl.h explains.
#pragma once

#include "cpu/dot_kernels.h"

namespace residual::cpu {
namespace {

// The sums of one block and two panels (the second may be missing): rows of 32.
constexpr int kSumColumns = 2 * kPanelColumns;

// Whether sums start from zero, and what they should have started from is added when they are finished.
#if defined(DOT_SUMS_START_FROM_ZERO)
constexpr bool kAddsStart = true;
#else
constexpr bool kAddsStart = false;
#endif

// Finishes the sums of some rows of a block, `begin` to `end`, for up to two panels from `panel` on.
template <typename Finish>
void finish_rows(const DotTask& task, const DotBlock& block, int begin, int end, int panel,
                 const int32_t* sums) {  // [block.rows][kSumColumns]
  const int columns = task.columns - panel * kPanelColumns;
  const Finish finish(task, panel, columns);
  const size_t channel = task.channel + size_t(panel) * kPanelColumns;
  const size_t channels = task.output.channels;
  for (int i = block.first_run; i < block.first_run + block.runs; i++) {
    const DotRun& run = task.runs[i];
    const int last = run.row + run.rows < end ? run.row + run.rows : end;
    int row = run.row > begin ? run.row : begin;
    const int32_t* from = sums + row * kSumColumns;
    size_t at = (run.pixel + row - run.row) * channels + channel;
    if (columns >= kSumColumns)
      for (; row + 2 <= last; row += 2, from += 2 * kSumColumns, at += 2 * channels)
        finish.two_rows(from, at);
    for (; row < last; row++, from += kSumColumns, at += channels) finish.row(from, at);
  }
}

}  // namespace
}  // namespace residual::cpu
