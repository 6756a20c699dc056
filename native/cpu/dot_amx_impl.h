// Sums of products on AMX's tiles: Intel's optimisation manual, chapter 20. Included by one file per type,
// which has a struct of what multiplies tiles: sums in tiles 0 to 3, rows in 4 and 5, weights in 6 and 7.
//
// A block of 32 rows times two panels is four tiles of sums; two tiles of rows and two of weights take turns.
// 16 neighbouring rows are a tile as they lie, whatever their distance. Sums leave the tiles through memory:
// while the next block is summed, a few rows with every tile, they are finished from there. Tried and slower:
// to load what sums start from (a tile that is being stored takes a new load late, but a zero at once), two
// sets of two tiles that take turns, and to finish sums a block later.
#pragma once

#include <algorithm>
#include <type_traits>

#define DOT_SUMS_START_FROM_ZERO
#if defined(RESIDUAL_EMULATE)
#include "cpu/dot_finish_plain.h"
#include "cpu/emulated/amx_instructions.h"
#else
#include "cpu/dot_finish_avx512.h"
#endif
#include "cpu/dot_dispatch.h"
#include "cpu/tile_config.h"

namespace residual::cpu {
namespace {

constexpr int kTileRows = 16;
constexpr int kTileBytes = 1024;
constexpr size_t kManyRowBytes = size_t(1) << 20;  // of a second-level cache of 2 MiB

constexpr int divide_up(int a, int b) { return (a + b - 1) / b; }

// Of the sum of a block and two panels: a tile of each row and of each panel.
inline int steps_of(const DotTask& task) { return task.tap_count * task.depth / kPanelRow; }

// Tiles of this thread, for the lifetime of an object: the system saves what is in use when it switches
// threads.
class Tiles {
 public:
  Tiles() {
    const TileConfig config;
    _tile_loadconfig(&config);
  }
  ~Tiles() { _tile_release(); }
  Tiles(const Tiles&) = delete;
};

constexpr int kLeastFinished = 8;  // rows at a time

// The sums of a block and two panels, in memory: some of their rows are finished, some are not.
class Unfinished {
 public:
  Unfinished(const DotTask& task, FinishRows finish) : task_(task), finish_(finish) {}

  void set(const DotBlock& block, int panel, const int32_t* sums) {
    block_ = &block;
    panel_ = panel;
    sums_ = sums;
    row_ = 0;
    rows_ = block.rows;
  }

  int rows() const { return rows_ - row_; }

  // Finishes some of the rows that are left.
  void finish(int rows) {
    if (row_ == rows_) return;
    const int end = std::min(row_ + rows, rows_);
    finish_(task_, *block_, row_, end, panel_, sums_);
    row_ = end;
  }

 private:
  const DotTask& task_;
  const FinishRows finish_;
  const DotBlock* block_ = nullptr;
  int panel_ = 0, row_ = 0, rows_ = 0;
  const int32_t* sums_ = nullptr;
};

// Memory to be brought to the second-level cache in equal steps; none unless told.
class Ahead {
 public:
  Ahead() = default;

  // Part `part` of `parts` of some lines, in `steps` steps.
  Ahead(const std::byte* from, int lines, int part, int parts, int steps)
      : lines_(divide_up(lines, parts * steps)), at_(from + size_t(part) * steps * lines_ * kLine) {}

  void step() {
    for (int i = 0; i < lines_; i++, at_ += kLine) __builtin_prefetch(at_, /*rw=*/0, /*locality=*/2);
  }

 private:
  static constexpr int kLine = 64;
  int lines_ = 0;  // of a step
  const std::byte* at_ = nullptr;
};

// Sums kRowTiles x kPanels tiles into tiles 0 to 3, from 0 on: to load what sums start from takes longer than
// to add it later. A product of tiles takes 16 cycles, in which there is time to finish rows of other sums
// and to bring weights closer.
template <typename Products, int kRowTiles, int kPanels>
inline void sum_tiles(const DotTask& task, const DotBlock& block, int panel, Unfinished& unfinished,
                      Ahead ahead) {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  const size_t panel_bytes = task.panel_bytes();
  const std::byte* weight = task.weight + panel * panel_bytes;
  const long stride = static_cast<long>(task.row_stride);
  const int finished_rows = std::max(divide_up(unfinished.rows(), 2 * steps_of(task)) * 2, kLeastFinished);
  for (int tap = 0; tap < task.tap_count; tap++) {
    const std::byte* const upper = block.source + task.source_offset + task.taps[tap];
    const std::byte* const lower = upper + kTileRows * task.row_stride;
    for (int at = 0; at < task.depth; at += kPanelRow, weight += kTileBytes) {
      _tile_loadd(4, upper + at, stride);
      _tile_loadd(6, weight, kPanelRow);
      Products::upper_left();
      if constexpr (kPanels > 1) {
        _tile_loadd(7, weight + panel_bytes, kPanelRow);
        Products::upper_right();
      }
      if constexpr (kRowTiles > 1) {
        _tile_loadd(5, lower + at, stride);
        Products::lower_left();
      }
      if constexpr (kRowTiles > 1 && kPanels > 1) Products::lower_right();
      ahead.step();
      unfinished.finish(finished_rows);
    }
  }
}

template <int kRowTiles, int kPanels>
inline void store_tiles(int32_t* sums) {
  constexpr int kStride = kSumColumns * sizeof(int32_t);
  _tile_stored(0, sums, kStride);
  if constexpr (kPanels > 1) _tile_stored(1, sums + kPanelColumns, kStride);
  if constexpr (kRowTiles > 1) _tile_stored(2, sums + kTileRows * kSumColumns, kStride);
  if constexpr (kRowTiles > 1 && kPanels > 1)
    _tile_stored(3, sums + kTileRows * kSumColumns + kPanelColumns, kStride);
}

// The order of a task's blocks and panels. Panels that a block passes by two at a time stay in a cache
// together with some blocks: in the first-level cache, or, where all weights are too many for the
// second-level cache, in that one, so that they come from beyond it once for as many blocks as possible.
struct Order {
  int panels;
  bool many;  // weights
  int blocks_together, panels_together;

  explicit Order(const DotTask& task)
      : panels(task.panels()), many(are_many_weights(panels * task.panel_bytes())) {
    const size_t tap_bytes = kMostDotRows * size_t(task.depth);
    blocks_together =
        static_cast<int>(many ? kManyRowBytes / tap_bytes : kRowBytes / (task.tap_count * tap_bytes)) + 1;
    // With as many as 64 output channels, whole lines of the result are written at once.
    panels_together = 4 * task.panel_bytes() <= kWeightBytes ? 4 : 2;
  }

 private:
  // Of the first-level cache: rows that all panels pass by, and weights that all of these rows pass by.
  static constexpr size_t kRowBytes = 32 << 10, kWeightBytes = 16 << 10;
};

// The weights that come after `panel` and the next one: a part of them while each of some blocks passes by
// these.
inline Ahead weights_ahead(const DotTask& task, const Order& order, int panel, int part, int parts) {
  const int next = panel + order.panels_together;
  if (next >= order.panels) return {};
  const int lines = static_cast<int>(std::min(order.panels - next, 2) * task.panel_bytes() / kPanelRow);
  return {task.weight + next * task.panel_bytes(), lines, part, parts, steps_of(task)};
}

template <typename Products>
void run_with(const DotTask& task, FinishRows finish) {
  const Tiles tiles;
  alignas(64) int32_t sums[2][kMostDotRows * kSumColumns];
  Unfinished unfinished(task, finish);
  int next = 0;
  const Order order(task);
  const auto sum = [&](const DotBlock& block, int panel, const Ahead& ahead, auto row_tiles, auto panels) {
    sum_tiles<Products, row_tiles, panels>(task, block, panel, unfinished, ahead);
    store_tiles<row_tiles, panels>(sums[next]);
    unfinished.set(block, panel, sums[next]);
    next = 1 - next;
  };
  const auto step = [&](const DotBlock& block, int panel, const Ahead& ahead) {
    constexpr std::integral_constant<int, 1> one;
    constexpr std::integral_constant<int, 2> two;
    const bool both_rows = block.rows > kTileRows, both_panels = panel + 1 < order.panels;
    if (both_rows && both_panels)
      sum(block, panel, ahead, two, two);
    else if (both_rows)
      sum(block, panel, ahead, two, one);
    else if (both_panels)
      sum(block, panel, ahead, one, two);
    else
      sum(block, panel, ahead, one, one);
  };
  for (int first = 0; first < task.block_count; first += order.blocks_together) {
    const int end = std::min(first + order.blocks_together, task.block_count);
    const bool are_beyond = first == 0 || order.many;
    for (int first_panel = 0; first_panel < order.panels; first_panel += order.panels_together)
      for (int i = first; i < end; i++) {
        const int end_panel = std::min(first_panel + order.panels_together, order.panels);
        for (int panel = first_panel; panel < end_panel; panel += 2) {
          const Ahead ahead =
              are_beyond ? weights_ahead(task, order, panel, i - first, end - first) : Ahead();
          step(task.blocks[i], panel, ahead);
        }
      }
  }
  unfinished.finish(kMostDotRows);
}

}  // namespace
}  // namespace residual::cpu
