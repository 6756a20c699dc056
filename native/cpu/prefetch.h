// How is memory fetched while tiles are summed up? Evenly: a line on its way from memory occupies one of the
// dozen or so places for lines that the first-level cache waits for, which what the tile itself reads from
// the second-level cache needs too. Fetched as fast as possible, weights make up to a fifth more of a
// layer's time (Xeon, Sapphire Rapids, layers of 7x7).
#pragma once

#include <algorithm>

#include "cpu/kernels.h"

namespace residual::cpu {

class Prefetch {
 public:
  // `floats` from `from` on, over `tiles` tiles of as many taps, channels and panels as `tile`. Null:
  // nothing.
  Prefetch(const float* from, size_t floats, const ConvTile& tile, int panels, int tiles) : from_(from) {
    const size_t steps = size_t(panels) * tile.taps * (tile.length / kUnroll);
    if (!from || steps == 0) return;
    step_ = static_cast<int>(std::min((floats + steps * tiles - 1) / (steps * tiles), kMostAtOnce));
    tile_floats_ = steps * step_;
  }

  // Before the tile of this number runs.
  void set(ConvTile& tile, int number) const {
    tile.prefetch = from_ + number * tile_floats_;
    tile.prefetch_step = step_;
  }

 private:
  static constexpr size_t kMostAtOnce = 3 * kLineFloats;

  const float* from_ = nullptr;
  int step_ = 0;
  size_t tile_floats_ = 0;
};

}  // namespace residual::cpu
