// How is any convolution (or linear layer) executed on the CPU? As implicit GEMM over register tiles.
#pragma once

#include <vector>

#include "cpu/aligned_buffer.h"
#include "cpu/convolution.h"

namespace residual::cpu {

class DirectConv final : public Convolution {
 public:
  // `weight` is [K,R,S,C/groups], `bias` [K]; both are copied into the order the kernels read them.
  DirectConv(const ConvGeometry& geometry, const Kernels& kernels, const float* weight, const float* bias);

  void run(float* dst, const float* src, const float* residual, int batch, ThreadPool& pool,
           Workspace& workspace) const override;
  WorkspaceSize workspace_size(int batch) const override;
  size_t bytes() const override { return weight_.bytes() + bias_.bytes() + zeros_.bytes(); }

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
