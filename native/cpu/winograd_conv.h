// 3x3 convolutions with fewer multiplications, by Winograd's transforms: Lavin and Gray,
// https://arxiv.org/abs/1509.09308; winograd_kernels_impl.h has those for stride 2. Each patch of the input
// and each kernel is transformed so that small matrix products over the channels (one for each point of the
// transformed patch) give the transformed 2x2 or 4x4 patch of the output.
#pragma once

#include "cpu/aligned_buffer.h"
#include "cpu/convolution.h"
#include "cpu/ranges.h"

namespace residual::cpu {

class WinogradConv final : public Convolution {
 public:
  // Whether these transforms can compute these numbers.
  static bool supports(const ConvGeometry& geometry, const Kernels& kernels,
                       const WinogradKernels& transforms);

  // `bias` is [K]; it and the weights are copied into `arena`, in the order in which they are read.
  WinogradConv(const ConvGeometry& geometry, const Kernels& kernels, const WinogradKernels& transforms,
               core::StoredWeights& weights, const float* bias, PageArena& arena);

  void run(void* dst, const void* src, const void* residual, int batch, ThreadPool& pool,
           Workspace& workspace) const override;
  WorkspaceSize workspace_size(int batch, int threads) const override;
  size_t bytes() const override { return weight_.bytes() + bias_.bytes() + zeros_.bytes(); }

 private:
  struct Buffers {
    float* dst;
    const float* src;
    const float* residual;
  };
  // The transformed inputs of some patches, [points][tiles][C].
  struct Transformed {
    float* data;
    Range tiles;
    size_t point_stride;  // floats
    float* at(int tile, int channels) const { return data + size_t(tile - tiles.begin) * channels; }
  };
  // A patch of the output: its image and its upper left pixel.
  struct Tile {
    int image, y, x;
  };

  int panel() const { return panel_vectors_ * kernels_.lanes; }
  Range columns(int group) const;
  size_t weight_offset(int column) const;
  size_t product_stride(int tiles, Range columns) const;
  void transform_weights(core::StoredWeights& weights);

  int tiles(int batch) const { return batch * rows_ * row_tiles_; }
  Tile tile(int index) const;
  Transformed transformed(float* data, Range tiles) const;
  void transform_inputs(const Transformed& to, const float* src, Range tiles) const;
  void run_group(const Buffers& buffers, const Transformed& inputs, Range tiles, int group,
                 float* products) const;
  void multiply(const Transformed& inputs, Range tiles, Range columns, float* products) const;
  void write_outputs(const Buffers& buffers, Range tiles, Range columns, const float* products) const;

  ConvGeometry geometry_;
  const Kernels& kernels_;
  const WinogradKernels& transforms_;
  int rows_, row_tiles_;  // tiles of one image, downwards and across
  int panel_vectors_;
  int groups_;            // of output channels whose products are computed together
  AlignedBuffer weight_;  // [group][weights of a patch][panel][C][lanes x vectors]
  AlignedBuffer bias_;    // [K]
  AlignedBuffer zeros_;   // [C or K]: what padding reads and what sums start from
};

}  // namespace residual::cpu
