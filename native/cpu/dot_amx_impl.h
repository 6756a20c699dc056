// Sums of products on AMX's tiles: Intel's optimisation manual, chapter 20. Included by one file per type,
// which has a struct of what multiplies tiles: sums in tiles 0 to 3, rows in 4 and 5, weights in 6 and 7.
//
// A block of 32 rows times two panels is four tiles of sums; two tiles of rows and two of weights take turns.
// 16 neighbouring rows are a tile as they lie, whatever their distance. Sums leave the tiles through memory:
// while one block's are finished from there, the next block is summed. Tried and slower: to load what sums
// start from (a tile that is being stored takes a new load late, but a zero at once), and two sets of two
// tiles that take turns.
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

// Sums kRowTiles x kPanels tiles into tiles 0 to 3, from 0 on: to load what sums start from takes longer than
// to add it later.
template <typename Products, int kRowTiles, int kPanels>
inline void sum_tiles(const DotTask& task, const DotBlock& block, int panel) {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  const size_t panel_bytes = task.panel_bytes();
  const std::byte* weight = task.weight + panel * panel_bytes;
  const long stride = static_cast<long>(task.row_stride);
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

// In bytes, of the first-level cache: rows of blocks that all panels pass by, and weights of panels that all
// of these blocks pass by. With as many as 64 output channels, whole lines of the result are written at once.
constexpr int kRowBytes = 32 * 1024, kWeightBytes = 16 * 1024;

template <typename Products>
void run_with(const DotTask& task, FinishRows finish) {
  const Tiles tiles;
  alignas(64) int32_t sums[2][kMostDotRows * kSumColumns];
  const DotBlock* last_block = nullptr;  // its sums are in the buffer that is not `next`
  int last_panel = 0, next = 0;
  const auto finish_last = [&] {
    if (last_block) finish(task, *last_block, 0, last_block->rows, last_panel, sums[1 - next]);
  };
  const auto step_of = [&](const DotBlock& block, int panel, auto row_tiles, auto panels) {
    sum_tiles<Products, row_tiles, panels>(task, block, panel);
    finish_last();
    store_tiles<row_tiles, panels>(sums[next]);
    last_block = &block;
    last_panel = panel;
    next = 1 - next;
  };
  const int panels = task.panels();
  const auto step = [&](const DotBlock& block, int panel) {
    constexpr std::integral_constant<int, 1> one;
    constexpr std::integral_constant<int, 2> two;
    const bool both_rows = block.rows > kTileRows, both_panels = panel + 1 < panels;
    if (both_rows && both_panels)
      step_of(block, panel, two, two);
    else if (both_rows)
      step_of(block, panel, two, one);
    else if (both_panels)
      step_of(block, panel, one, two);
    else
      step_of(block, panel, one, one);
  };
  const int block_bytes = kMostDotRows * task.tap_count * task.depth;
  const int blocks_together = kRowBytes / block_bytes + 1;
  const int panels_together = 4 * task.panel_bytes() <= kWeightBytes ? 4 : 2;
  for (int first = 0; first < task.block_count; first += blocks_together) {
    const int end = std::min(first + blocks_together, task.block_count);
    for (int first_panel = 0; first_panel < panels; first_panel += panels_together)
      for (int i = first; i < end; i++)
        for (int panel = first_panel; panel < std::min(first_panel + panels_together, panels); panel += 2)
          step(task.blocks[i], panel);
  }
  finish_last();
}

}  // namespace
}  // namespace residual::cpu
