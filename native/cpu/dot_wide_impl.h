// int8 convolutions for instruction sets that multiply 16-bit integers but no bytes. Included by one file per
// instruction set, in an unnamed namespace as kernels_impl.h explains.
//
// Sources are widened to 16 bits once for all panels, weights in registers. Such a file has a struct of what
// it sums with:
//   kRows   that it sums at once, at most
//   sum<rows>(const WideTask&)
#pragma once

#include <cstring>
#include <utility>

#include "cpu/dot_dispatch.h"

namespace residual::cpu {
namespace {

constexpr int kWideColumns = kPanelColumns / 2;  // summed at once

// Some rows times half a panel.
struct WideTask {
  const int16_t* source;    // [rows][row_stride]
  size_t row_stride;        // numbers
  int length;               // numbers of a row, a multiple of 4
  const std::byte* weight;  // [length / 4] rows of kPanelRow bytes, of which the first half is meant
  const int32_t* start;     // [kWideColumns]
  size_t start_stride;      // from one row's to the next one's
  int32_t* sums;            // [rows][kSumColumns]
};

// Numbers of a row that are widened together with those of other rows.
constexpr int kMostWide = 16 * 1024;

// A part of a convolution's rows, widened, and its sums.
template <typename Products>
class WideRows {
 public:
  explicit WideRows(const DotTask& task) : task_(task), length_(task.tap_count * task.depth) {
    // Several times as many rows as are summed at once, if there is memory: they share what is read of the
    // weights.
    most_ = kMostWide / length_ / Products::kRows * Products::kRows;
    if (most_ < Products::kRows) most_ = Products::kRows;
    if (most_ > kMostDotRows) most_ = kMostDotRows;
    segment_ = kMostWide / most_ / 4 * 4;
  }

  // Takes rows of a block from `first` on, and returns how many.
  int take(const DotBlock& block, int first) {
    source_ = block.source + task_.source_offset + first * task_.row_stride;
    rows_ = block.rows - first < most_ ? block.rows - first : most_;
    if (length_ <= segment_) widen(0, length_);
    return rows_;
  }

  // The sums of up to two panels.
  void sum(int32_t* sums, int panel) {  // [rows][kSumColumns]
    const int halves = task_.panels() - panel < 2 ? 2 : 4;
    for (int begin = 0; begin < length_; begin += segment_) {
      const int end = length_ - begin < segment_ ? length_ : begin + segment_;
      if (length_ > segment_) widen(begin, end);
      for (int half = 0; half < halves; half++)
        sum_half(sums + half * kWideColumns, panel * 2 + half, begin, end);
    }
  }

 private:
  // Bytes `begin` to `end` of all rows, counted over all taps.
  void widen(int begin, int end) {
    task_.is_signed ? widen_as<int8_t>(begin, end) : widen_as<uint8_t>(begin, end);
  }

  template <typename Byte>
  void widen_as(int begin, int end) {
    int16_t* dst = wide_;
    for (int r = 0; r < rows_; r++) {
      const std::byte* const row = source_ + r * task_.row_stride;
      for (int at = begin; at < end;) {
        const int tap = at / task_.depth, first = at % task_.depth;
        const int count = end - at < task_.depth - first ? end - at : task_.depth - first;
        const Byte* const from = reinterpret_cast<const Byte*>(row + task_.taps[tap] + first);
        for (int i = 0; i < count; i++) dst[i] = from[i];
        dst += count;
        at += count;
      }
    }
  }

  void sum_half(int32_t* sums, int half, int begin, int end) const {
    WideTask part = {};
    part.length = end - begin;
    part.row_stride = part.length;
    part.weight = task_.weight + half / 2 * task_.panel_bytes() + size_t(begin) / 4 * kPanelRow +
                  half % 2 * (kPanelRow / 2);
    for (int row = 0; row < rows_; row += Products::kRows) {
      part.source = wide_ + row * part.row_stride;
      part.sums = sums + row * kSumColumns;
      const auto* const start = static_cast<const int32_t*>(task_.start) + half * kWideColumns;
      part.start = begin == 0 ? start : part.sums;
      part.start_stride = begin == 0 ? 0 : kSumColumns;
      sum_rows(part, rows_ - row, std::make_integer_sequence<int, Products::kRows>());
    }
  }

  template <int... kRow>
  static void sum_rows(const WideTask& part, int rows, std::integer_sequence<int, kRow...>) {
    using Sum = void (*)(const WideTask&);
    static constexpr Sum kSums[] = {Products::template sum<kRow + 1>...};
    kSums[rows < Products::kRows ? rows - 1 : Products::kRows - 1](part);
  }

  const DotTask& task_;
  const int length_;  // bytes of a row
  int most_;          // rows
  int segment_;       // bytes of a row that are widened together
  const std::byte* source_ = nullptr;
  int rows_ = 0;
  alignas(64) int16_t wide_[kMostWide];  // [rows][bytes]
};

template <typename Products>
void run_wide(const DotTask& task, FinishRows finish) {
  alignas(64) int32_t sums[kMostDotRows * kSumColumns];
  WideRows<Products> rows(task);
  const int panels = task.panels();
  for (int i = 0; i < task.block_count; i++) {
    const DotBlock& block = task.blocks[i];
    for (int first = 0; first < block.rows;) {
      const int end = first + rows.take(block, first);
      for (int panel = 0; panel < panels; panel += 2) {
        rows.sum(sums + first * kSumColumns, panel);
        finish(task, block, first, end, panel, sums);
      }
      first = end;
    }
  }
}

}  // namespace
}  // namespace residual::cpu
