// How is memory fetched while tiles are summed up? Evenly: a line on its way from memory occupies one of the
// dozen or so places for lines that the first-level cache waits for, which what the tile itself reads from
// the second-level cache needs too. Fetched as fast as possible, weights make up to a fifth more of a
// layer's time (Xeon, Emerald Rapids, layers of 7x7).
#pragma once

#include <algorithm>

#include "cpu/kernels.h"

namespace residual::cpu {

// `floats` to fetch over `tiles` tiles of as many taps, channels and panels as `tile`.
class Prefetch {
 public:
  Prefetch(size_t floats, const ConvTile& tile, int panels, int tiles) {
    const size_t steps = size_t(panels) * tile.taps * (tile.length / kUnroll);
    if (steps == 0) return;
    step_ = static_cast<int>(std::min((floats + steps * tiles - 1) / (steps * tiles), kMostAtOnce));
    tile_floats_ = steps * step_;
  }

  // Before the tile of this number runs: of what begins at `from`, or nothing where that is null.
  void set(ConvTile& tile, const float* from, int number) const {
    tile.prefetch = from ? from + number * tile_floats_ : nullptr;
    tile.prefetch_step = from ? step_ : 0;
  }

 private:
  static constexpr size_t kMostAtOnce = 3 * kLineFloats;

  int step_ = 0;
  size_t tile_floats_ = 0;
};

}  // namespace residual::cpu
