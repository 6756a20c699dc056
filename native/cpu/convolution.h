// What can execute a convolution on the CPU? Whatever is behind this interface; make_convolution() chooses.
#pragma once

#include <memory>

#include "core/plan.h"
#include "core/stored_weights.h"
#include "cpu/kernels.h"
#include "cpu/page_arena.h"
#include "cpu/thread_pool.h"
#include "cpu/workspace.h"

namespace residual::cpu {

// The op's own numbers, with `linear` seen as a 1x1 convolution of a 1x1 picture.
struct ConvGeometry {
  core::Shape src, dst;
  int kernel = 1, stride = 1, padding = 0, groups = 1;
  bool relu = false;

  int taps() const { return kernel * kernel; }
  int group_inputs() const { return src.channels / groups; }
  int group_outputs() const { return dst.channels / groups; }
};

// A convolution with its weights packed, bias, residual sum and ReLU fused in.
class Convolution {
 public:
  virtual ~Convolution() = default;

  // dst must not overlap the others.
  virtual void run(float* dst,             // [N,H,W,K]
                   const float* src,       // [N,H,W,C]
                   const float* residual,  // [N,H,W,K] like dst, or null
                   int batch, ThreadPool& pool, Workspace& workspace) const = 0;

  // What `run` needs for a batch of this size or a smaller one.
  virtual WorkspaceSize workspace_size(int batch, int threads) const = 0;

  // Memory held, in bytes.
  virtual size_t bytes() const = 0;
};

// The fastest way known for these numbers, always the same one. `bias` is [K]; it and the weights
// are copied into `arena`. `exact` allows only sums of the products themselves, without transforms that round
// more. Throws what folding the weights throws.
std::unique_ptr<Convolution> make_convolution(const ConvGeometry& geometry, const Kernels& kernels,
                                              core::StoredWeights& weights, const float* bias, bool exact,
                                              PageArena& arena);

}  // namespace residual::cpu
