// How do the weights of some output channels come to lie side by side, as vectors of output channels need
// them?
#pragma once

#include <vector>

#include "core/stored_weights.h"
#include "cpu/kernels.h"

namespace residual::cpu {

class TurnedWeights {
 public:
  // Both must outlive it.
  TurnedWeights(core::StoredWeights& weights, const Kernels& kernels)
      : weights_(weights), kernels_(kernels) {}

  // The weights of `columns` output channels from `k` on for `count` input channels from `c` on:
  // [count][R*S][columns], until the next call. Throws what folding throws.
  const float* take(int k, int columns, int c, int count) {
    const size_t taps = weights_.shape().taps, size = count * taps;
    if (turned_.size() < columns * size) {
      folded_.resize(columns * size);
      turned_.resize(columns * size);
    }
    weights_.fold(folded_.data(), k, columns, c * taps, size);
    kernels_.transpose(turned_.data(), columns, folded_.data(), size, columns, size);
    return turned_.data();
  }

 private:
  core::StoredWeights& weights_;
  const Kernels& kernels_;
  std::vector<float> folded_, turned_;
};

}  // namespace residual::cpu
