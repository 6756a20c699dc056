// The weights of a convolution as int8, with what its sums start from and are multiplied by
// (docs/precision.md).
#pragma once

#include <cstdint>
#include <vector>

#include "core/stored_weights.h"
#include "cpu/dot_numbers.h"

namespace residual::cpu {

class Int8Weights {
 public:
  // Weights that are stored as int8 are taken as they are; others are rounded to 127ths of each output
  // channel's largest. `bias` is [K]. Throws what reading weights throws, and CHECKPOINT_INVALID where
  // results could be too large.
  Int8Weights(const ConvGeometry& geometry, const DotNumbers& numbers, core::StoredWeights& weights,
              const float* bias);

  // Of an output channel.
  const int8_t* integers(int k) const { return integers_.data() + k * size_; }  // [C/groups][R*S]
  int32_t start(int k) const { return start_[k]; }
  float scale(int k) const { return scale_[k]; }

 private:
  void set_channel(int k, double step, double bias);
  double round(int k, float* weights, double bias);
  void check_range(int k, double start, double scale) const;
  double zeros(int k) const;

  const ConvGeometry& geometry_;
  const DotNumbers& numbers_;
  size_t size_;  // weights of an output channel
  std::vector<int8_t> integers_;
  std::vector<int32_t> start_;
  std::vector<float> scale_;
};

}  // namespace residual::cpu
