// Prefetches memory evenly while tiles are summed. A line on its way from memory occupies one of the dozen or
// so fill buffers of the first-level cache, and the tile needs those too for what it reads from the
// second-level cache. Prefetched as fast as possible, weights add up to a fifth to a layer's time (Xeon,
// Emerald Rapids, 7x7 layers).
#pragma once

#include <algorithm>

#include "cpu/kernels.h"

namespace residual::cpu {

// Spreads `floats` over `tiles` tiles with as many taps, channels and panels as `tile`.
class Prefetch {
 public:
  Prefetch(size_t floats, const ConvTile& tile, int panels, int tiles) {
    const size_t steps = size_t(panels) * tile.taps * (tile.length / kUnroll);
    if (steps == 0) return;
    step_ = static_cast<int>(std::min((floats + steps * tiles - 1) / (steps * tiles), kMostAtOnce));
    tile_floats_ = steps * step_;
  }

  // Call before tile `number` runs. `from` is where the memory to prefetch begins; null: prefetch nothing.
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
