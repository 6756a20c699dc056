// How far does a tile get through its `prefetch`?
#pragma once

#include "cpu/kernels.h"

namespace residual::cpu {

// One line for every kUnroll channels and vector, in floats. Not in kernels.h: see kernels_impl.h.
inline size_t prefetched_floats(const ConvTile& tile, int panels, int vectors) {
  return size_t(panels) * tile.taps * (tile.length / kUnroll) * vectors * kLineFloats;
}

}  // namespace residual::cpu
