// The layout of a plan's values in GPU memory: [N,H,W,C] with C padded, in one arena.
#pragma once

#include <vector>

#include "core/memory_plan.h"
#include "core/plan.h"
#include "cuda/conv_spec.h"

namespace residual::cuda {

struct ValueLayout {
  int padded = 0;  // channels in memory: a multiple of 16 bytes; the padding is always zero
  // That of the session; float32 for a value that only activations or the caller read.
  core::Precision precision = core::Precision::kFp32;
  size_t bytes = 0;  // of one image

  bool is_float() const { return precision == core::Precision::kFp32; }
};

// How a conv op is run.
enum class ConvMethod { kCudnn, kPointwise, kDirect };

class Layout {
 public:
  Layout(const core::Plan& plan, Precision precision);

  Precision precision() const { return precision_; }
  const ValueLayout& value(int index) const { return values_[index]; }
  size_t arena_bytes(int batch) const { return memory_.size * batch; }
  size_t offset(int value, int batch) const { return memory_.offsets[value] * batch; }  // bytes

  // For conv and linear. cuDNN may still refuse a kCudnn op, which then runs as kDirect.
  ConvMethod method(const core::Op& op) const;
  ConvSpec spec(const core::Op& op, int batch) const;
  // Input channels per output channel in memory: the padded channels of src, or the channels of a group.
  int weight_channels(const core::Op& op) const;

 private:
  const core::Plan& plan_;  // outlives this
  Precision precision_;
  std::vector<ValueLayout> values_;
  core::MemoryPlan memory_;
};

// The precision called `name`. Throws PRECISION_UNSUPPORTED for unknown names and for precisions that a GPU
// of this compute capability (times ten) lacks.
Precision supported_precision(const std::string& name, int compute_capability);

}  // namespace residual::cuda
