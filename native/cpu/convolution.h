// The interface of a convolution on the CPU, and the choice among its algorithms (algorithms_for()).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/plan.h"
#include "core/stored_weights.h"
#include "cpu/dot_kernels.h"
#include "cpu/kernels.h"
#include "cpu/page_arena.h"
#include "cpu/thread_pool.h"
#include "cpu/workspace.h"

namespace residual::cpu {

// The op's geometry; `linear` counts as a 1x1 convolution of a 1x1 image.
struct ConvGeometry {
  core::Shape src, dst;
  int kernel = 1, stride = 1, padding = 0, groups = 1;
  bool relu = false;

  int taps() const { return kernel * kernel; }
  int group_inputs() const { return src.channels / groups; }
  int group_outputs() const { return dst.channels / groups; }
};

// A convolution with packed weights and with bias, residual sum and ReLU fused in.
class Convolution {
 public:
  virtual ~Convolution() = default;

  // dst must not overlap the others. With fewer bits than float32 it may be the residual.
  virtual void run(void* dst,             // [N,H,W,K]
                   const void* src,       // [N,H,W,C]
                   const void* residual,  // [N,H,W,K], or null
                   int batch, ThreadPool& pool, Workspace& workspace) const = 0;

  // What `run` needs for batches up to this size.
  virtual WorkspaceSize workspace_size(int batch, int threads) const = 0;

  // Memory held, in bytes.
  virtual size_t bytes() const = 0;
};

// A way to compute a convolution.
struct Algorithm {
  const WinogradKernels* winograd = nullptr;         // the transforms to use; null: none
  const DotWinogradKernels* dot_winograd = nullptr;  // of int8 numbers

  std::string name() const;  // "direct", or "winograd2" or "winograd4" for patches of 2x2 or 4x4
};

// What the choice of an algorithm favours.
enum class Precedence {
  kSpeed,
  kMemory,    // of its weights
  kExactness  // only plain sums of products, without transforms that round more
};

// All algorithms for this geometry in float32, best first as far as a fixed table knows. The first is always
// the same for the same geometry and precedence.
std::vector<Algorithm> algorithms_for(const ConvGeometry& geometry, const Kernels& kernels,
                                      Precedence precedence);

// Uses one of algorithms_for(). `bias` is [K]; it and the weights are copied into `arena`. Throws what
// folding the weights throws.
std::unique_ptr<Convolution> make_convolution(const ConvGeometry& geometry, const Kernels& kernels,
                                              const Algorithm& algorithm, core::StoredWeights& weights,
                                              const float* bias, PageArena& arena);

}  // namespace residual::cpu
