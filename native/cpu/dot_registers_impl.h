// Convolutions of int8 or bf16 numbers in vector registers, for instruction sets without tiles. Included by
// one file per instruction set, in an unnamed namespace as kernels_impl.h explains.
//
// Such a file has a struct of what it sums with:
//   kRows, kPanels   that it sums at once, at most; kPanels is 1 or 2
//   kFlips           whether it can only multiply sources of the other sign: x + 128 rather than int8 x, or
//                    x - 128 rather than uint8 x. The difference is in what sums start from.
//   sum<rows, panels>(const RegisterTask&)
#pragma once

#include <cstring>
#include <utility>

#include "cpu/dot_dispatch.h"

namespace residual::cpu {
namespace {

// Some rows times one or two panels.
struct RegisterTask {
  const std::byte* source;  // of the first row, at tap offset 0
  size_t row_stride;        // bytes
  const ptrdiff_t* taps;
  int tap_count;
  int depth;                // bytes of a tap
  const std::byte* weight;  // of the first panel
  size_t panel_bytes;
  const int32_t* start;  // [panels][kPanelColumns], or floats
  int32_t* sums;         // [rows][kSumColumns], or floats
};

// Where the rows of a block begin: every third has a pointer, so that all addresses fit into registers.
template <int kRows>
struct RowPointers {
  static constexpr int kGroup = 3;
  const std::byte* first[(kRows + kGroup - 1) / kGroup];
  size_t stride;

  RowPointers(const std::byte* source, size_t row_stride) : stride(row_stride) {
#pragma GCC unroll 8
    for (int i = 0; i * kGroup < kRows; i++) first[i] = source + i * kGroup * row_stride;
  }
  const std::byte* operator[](int row) const { return first[row / kGroup] + row % kGroup * stride; }
  void advance(int bytes) {
#pragma GCC unroll 8
    for (int i = 0; i * kGroup < kRows; i++) first[i] += bytes;
  }
};

// Calls step(rows, at, weight) for every dword of a row: `at` is its offset from the row pointers and
// `weight` its row of the first panel.
template <int kRows, typename Step>
inline __attribute__((always_inline)) void for_each_dword(const RegisterTask& task, const Step& step) {
  constexpr int kUnrolled = 4;
  const std::byte* weight = task.weight;
  for (int tap = 0; tap < task.tap_count; tap++) {
    RowPointers<kRows> rows(task.source + task.taps[tap], task.row_stride);
    int left = task.depth / 4;
    for (; left >= kUnrolled; left -= kUnrolled) {
#pragma GCC unroll 4
      for (int i = 0; i < kUnrolled; i++) step(rows, 4 * i, weight + i * kPanelRow);
      weight += kUnrolled * kPanelRow;
      rows.advance(4 * kUnrolled);
    }
    for (; left > 0; left--) {
      step(rows, 0, weight);
      weight += kPanelRow;
      rows.advance(4);
    }
  }
}

// What is added to 128 times each column's weights if all sources are 128 less than they should be (sign 1),
// or more (sign -1).
inline void correct_start(int32_t* start, const DotTask& task, int panel, int sign) {
  const std::byte* const weight = task.weight + panel * task.panel_bytes();
  for (size_t at = 0; at < task.panel_bytes(); at += 4)
    for (int i = 0; i < 4; i++) start[at % kPanelRow / 4] += sign * 128 * static_cast<int8_t>(weight[at + i]);
}

template <typename Registers, int kPanels, int... kRow>
inline void sum_rows(const RegisterTask& task, int rows, std::integer_sequence<int, kRow...>) {
  using Sum = void (*)(const RegisterTask&);
  static constexpr Sum kSums[] = {Registers::template sum<kRow + 1, kPanels>...};
  kSums[rows - 1](task);
}

// Calls use(first, count) for the rows of a block that are summed at once: parts of nearly the same number.
template <int kRows, typename Use>
inline void each_part(int rows, const Use& use) {
  int first = 0;
  for (int parts = (rows + kRows - 1) / kRows; parts > 0; parts--) {
    const int count = (rows - first) / parts;
    use(first, count);
    first += count;
  }
}

// Sums a block for up to two panels.
template <typename Registers>
void sum_block(RegisterTask task, int rows, int panels) {
  constexpr std::make_integer_sequence<int, Registers::kRows> choices;
  each_part<Registers::kRows>(rows, [&](int, int count) {
    if (Registers::kPanels == 2 && panels == 2) {
      sum_rows<Registers, Registers::kPanels>(task, count, choices);
    } else {
      RegisterTask one = task;
      for (int panel = 0; panel < panels; panel++) {
        sum_rows<Registers, 1>(one, count, choices);
        one.weight += task.panel_bytes;
        one.start += kPanelColumns;
        one.sums += kPanelColumns;
      }
    }
    task.source += count * task.row_stride;
    task.sums += count * kSumColumns;
  });
}

// Blocks that stay in the first-level cache while all panels pass by.
constexpr int kBlockGroupBytes = 24 * 1024;

template <typename Registers>
void run_in_registers(const DotTask& task, FinishRows finish) {
  alignas(64) int32_t sums[kMostDotRows * kSumColumns];
  alignas(64) int32_t start[kSumColumns];
  RegisterTask part = {};
  part.row_stride = task.row_stride;
  part.taps = task.taps;
  part.tap_count = task.tap_count;
  part.depth = task.depth;
  part.panel_bytes = task.panel_bytes();
  part.start = start;
  part.sums = sums;
  const size_t block_bytes = size_t(kMostDotRows) * task.tap_count * task.depth;
  const int together = static_cast<int>(kBlockGroupBytes / block_bytes) + 1;
  const int panels = task.panels();
  for (int first = 0; first < task.block_count; first += together) {
    const int end = first + together < task.block_count ? first + together : task.block_count;
    for (int panel = 0; panel < panels; panel += 2) {
      const int count = panels - panel < 2 ? 1 : 2;
      std::memcpy(start, static_cast<const int32_t*>(task.start) + panel * kPanelColumns,
                  count * kPanelColumns * sizeof(int32_t));
      if (Registers::kFlips)
        for (int i = 0; i < count; i++)
          correct_start(start + i * kPanelColumns, task, panel + i, task.is_signed ? -1 : 1);
      part.weight = task.weight + panel * part.panel_bytes;
      for (int i = first; i < end; i++) {
        const DotBlock& block = task.blocks[i];
        part.source = block.source + task.source_offset;
        sum_block<Registers>(part, block.rows, count);
        finish(task, block, 0, block.rows, panel, sums);
      }
    }
  }
}

}  // namespace
}  // namespace residual::cpu
