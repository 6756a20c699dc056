// How is a fused convolution (or linear layer) executed on the CPU? As implicit GEMM over register tiles.
#pragma once

#include <vector>

#include "core/plan.h"
#include "cpu/aligned_buffer.h"
#include "cpu/kernels.h"
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

// A convolution with its weights in the order the kernels read them.
class Conv {
 public:
  // `weight` is [K,R,S,C/groups], `bias` [K]; both are copied.
  Conv(const ConvGeometry& geometry, const Kernels& kernels, const float* weight, const float* bias);

  // `residual`, [N,H,W,K] like dst, may be null. dst must not overlap the others.
  void run(float* dst,             // [N,H,W,K]
           const float* src,       // [N,H,W,C]
           const float* residual,  // [N,H,W,K] or null
           int batch, ThreadPool& pool, Workspace& workspace) const;

  // What `run` needs of the workspace, per worker.
  size_t workspace_bytes() const;

  size_t bytes() const { return weight_.bytes() + bias_.bytes() + zeros_.bytes(); }

 private:
  // A run of output channels of one group whose weights lie together, [taps][length][vectors x lanes].
  struct Panel {
    int group;
    int channel;  // first output channel
    int columns;  // output channels
    int vectors;
    size_t weight;  // offset in weight_
    size_t bias;    // offset in bias_
  };
  struct Buffers {
    float* dst;
    const float* src;
    const float* residual;
  };
  struct Range {
    int begin, end;
  };

  void pack(const float* weight, const float* bias);
  void pack_depthwise(const float* weight, const float* bias);
  const float** find_sources(const float* src, Range pixels, void* scratch) const;
  void gather(float* dst, const float* src, int pixel) const;
  void run_block(const Buffers& buffers, Range pixels, Range panels, void* scratch) const;
  void run_panel(const Buffers& buffers, Range pixels, const Panel& panel, const float* const* sources) const;
  void run_depthwise(const Buffers& buffers, Range pixels, void* scratch) const;
  const float* source(const float* src, int pixel, int row, int column) const;

  ConvGeometry geometry_;
  const Kernels& kernels_;
  bool depthwise_;  // one input and one output channel per group
  bool gather_;     // few input channels: a pixel's whole window is copied together, one long tap
  int merge_ = 1;   // groups computed as one, with zeros between them, to fill a vector
  int taps_;        // as the kernels see them
  int length_;      // input channels per tap
  std::vector<Panel> panels_;
  AlignedBuffer weight_, bias_;
  AlignedBuffer zeros_;  // [C]: what padding reads
};

}  // namespace residual::cpu
