// Transposes the weights of some output channels so that they lie side by side, as vectors of output channels
// need them.
#pragma once

#include <algorithm>
#include <vector>

#include "core/stored_weights.h"
#include "cpu/kernels.h"

namespace residual::cpu {

class TransposedWeights {
 public:
  // Both arguments must outlive it.
  TransposedWeights(core::StoredWeights& weights, const Kernels& kernels)
      : weights_(weights), kernels_(kernels) {}

  // The weights of `columns` output channels from `k` on for `count` input channels from `c` on:
  // [count][R*S][columns], until the next call. Throws what folding throws.
  const float* take(int k, int columns, int c, int count) {
    const size_t taps = weights_.shape().taps, size = count * taps;
    if (transposed_.size() < columns * size) transposed_.resize(columns * size);
    if (is_rsck()) {
      fold_inputs(c, count);
      copy_columns(k, columns, count);
    } else {
      if (folded_.size() < columns * size) folded_.resize(columns * size);
      weights_.fold(folded_.data(), k, columns, c * taps, size);
      kernels_.transpose(transposed_.data(), columns, folded_.data(), size, columns, size);
    }
    return transposed_.data();
  }

  // How many input channels to take for all output channels before going on to the next, `step` at a time:
  // otherwise parts of a file are read again.
  int inputs_at_once(int step) const { return is_rsck() ? step : int(weights_.shape().inputs); }

 private:
  bool is_rsck() const { return weights_.layout() == core::WeightLayout::kRSCK; }

  // To folded_, [R*S][count][K].
  void fold_inputs(int c, int count) {
    if (c == first_ && count == count_) return;
    const size_t taps = weights_.shape().taps, size = count * weights_.shape().outputs;
    folded_.resize(taps * size);
    count_ = 0;
    for (size_t tap = 0; tap < taps; tap++) weights_.fold_inputs(folded_.data() + tap * size, tap, c, count);
    first_ = c;
    count_ = count;
  }

  void copy_columns(int k, int columns, int count) {
    const size_t taps = weights_.shape().taps, outputs = weights_.shape().outputs;
    float* to = transposed_.data();
    for (int c = 0; c < count; c++)
      for (size_t tap = 0; tap < taps; tap++, to += columns)
        std::copy_n(folded_.data() + (tap * count + c) * outputs + k, columns, to);
  }

  core::StoredWeights& weights_;
  const Kernels& kernels_;
  std::vector<float> folded_, transposed_;
  int first_ = 0, count_ = 0;  // of RSCK: what is in folded_
};

}  // namespace residual::cpu
