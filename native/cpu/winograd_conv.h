// How is a 3x3 convolution of stride 1 executed with a quarter of the multiplications? By Winograd's
// F(4x4,3x3): Lavin and Gray, https://arxiv.org/abs/1509.09308. Each 6x6 patch of the input and each kernel
// is transformed so that 36 small matrix products over the channels give the transformed 4x4 patch of the
// output.
#pragma once

#include "cpu/aligned_buffer.h"
#include "cpu/convolution.h"

namespace residual::cpu {

class WinogradConv final : public Convolution {
 public:
  // Whether it can be used for these numbers and is faster than DirectConv.
  static bool pays(const ConvGeometry& geometry, const Kernels& kernels);

  // `weight` is [K,3,3,C], `bias` [K]; both are copied, the weights transformed.
  WinogradConv(const ConvGeometry& geometry, const Kernels& kernels, const float* weight, const float* bias);

  void run(float* dst, const float* src, const float* residual, int batch, ThreadPool& pool,
           Workspace& workspace) const override;
  WorkspaceSize workspace_size(int batch) const override;
  size_t bytes() const override { return weight_.bytes() + bias_.bytes() + zeros_.bytes(); }

 private:
  struct Buffers {
    float* dst;
    const float* src;
    const float* residual;
    float* transformed;  // [36][tiles][C]
    int tiles;
  };
  struct Range {
    int begin, end;
  };
  // A 4x4 patch of the output: its picture and its upper left pixel.
  struct Tile {
    int picture, y, x;
  };

  Tile tile(int index) const;
  void transform_inputs(const Buffers& buffers, Range tiles) const;
  void multiply(const Buffers& buffers, Range tiles, int panel, float* products) const;
  void write_outputs(const Buffers& buffers, Range tiles, int panel, const float* products) const;
  int columns(int panel) const;  // channels of a panel

  ConvGeometry geometry_;
  const Kernels& kernels_;
  int rows_, row_tiles_;  // tiles of one picture, downwards and across
  int panels_;            // runs of output channels
  AlignedBuffer weight_;  // [panel][36][C][columns]
  AlignedBuffer bias_;    // [K]
  AlignedBuffer zeros_;   // [C or a panel]: what padding reads, and sums begin with
};

}  // namespace residual::cpu
