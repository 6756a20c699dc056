// Any convolution or linear layer on the CPU, as implicit GEMM over register tiles.
#pragma once

#include <vector>

#include "cpu/aligned_buffer.h"
#include "cpu/convolution.h"
#include "cpu/ranges.h"
#include "cpu/transposed_weights.h"

namespace residual::cpu {

class DirectConv final : public Convolution {
 public:
  // `bias` is [K]; it and the weights are copied into `arena`, in the order the kernels read them.
  DirectConv(const ConvGeometry& geometry, const Kernels& kernels, core::StoredWeights& weights,
             const float* bias, PageArena& arena);

  void run(void* dst, const void* src, const void* residual, int batch, ThreadPool& pool,
           Workspace& workspace) const override;
  WorkspaceSize workspace_size(int batch, int threads) const override;
  size_t bytes() const override {
    return weight_.bytes() + bias_.bytes() + zeros_.bytes() + from_.size() * sizeof(int32_t);
  }

 private:
  // Neighbouring output channels of one group, computed in panels of the same width, lanes x vectors; the
  // last panel may hold fewer channels.
  struct Strip {
    int group;
    int channel;  // first output channel
    int columns;  // output channels
    int vectors;
    int panels;
    int first_panel;  // its number among all panels of the convolution
    size_t weight;    // offset in weight_ of [blocks of depth][panels][depth][lanes x vectors]
    size_t bias;      // offset in bias_
  };
  // What one pass sums over: all channels of `taps` kernel positions, or some channels of one.
  struct DepthBlock {
    int tap, taps;
    int channel, channels;
    size_t depth;  // taps x channels before it
    size_t size() const { return size_t(taps) * channels; }
  };
  struct Buffers {
    float* dst;
    const float* src;
    const float* residual;
  };

  void plan_merged();
  void plan_depth();
  void plan_strips(PageArena& arena);
  void pack(core::StoredWeights& weights, const float* bias);
  void pack_panel(const Strip& strip, int panel, Range channels, TransposedWeights& transposed);
  void pack_depthwise(core::StoredWeights& weights, const float* bias, PageArena& arena);
  size_t packed_offset(const Strip& strip, const DepthBlock& block, int panel) const;
  float* packed_row(const Strip& strip, int panel, size_t depth);
  void pad(float* dst, const float* src, int row) const;
  template <typename At>
  void each_pixel(Range pixels, const At& at) const;
  const float** find_sources(const float* src, Range pixels, void* scratch) const;
  void run_block(const Buffers& buffers, Range pixels, Range panels, void* scratch) const;
  void run_panels(const Buffers& buffers, Range pixels, const Strip& strip, Range panels,
                  const float* const* sources) const;
  void run_depthwise(const Buffers& buffers, Range pixels, void* scratch) const;

  ConvGeometry geometry_;
  const Kernels& kernels_;
  bool depthwise_;  // one input and one output channel per group
  // With few input channels a kernel row is one tap, since its pixels lie side by side once the image is
  // padded.
  bool by_rows_;
  int merge_ = 1;              // groups computed together, by grouped_tile, to fill a vector
  std::vector<int32_t> from_;  // of merged groups: see ConvTile
  int taps_;                   // as the kernels count them
  int length_;                 // input channels per tap
  std::vector<DepthBlock> depth_;
  std::vector<Strip> strips_;
  int panels_ = 0;  // of all strips
  AlignedBuffer weight_, bias_;
  AlignedBuffer zeros_;  // [C]: what padding reads
};

}  // namespace residual::cpu
