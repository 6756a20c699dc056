// 3x3 convolutions of int8 numbers with a quarter of the multiplications, to the bit what direct ones give:
// Winograd's F(4x4,3x3) in integers.
//
// The transforms are those of Lavin and Gray, https://arxiv.org/abs/1509.09308, whose fractions are of 24:
// the weights' transform is multiplied so that all of its numbers are integers, and sums become 24 * 24 = 576
// times what they should be. Transformed inputs and weights fit int16 (255 * 68 and 127 * 144). Sums of
// products are taken modulo 2^32, for a result below 2^25 is all that must be right: 576 = 9 * 64, 9 has an
// inverse modulo 2^32, and a shift by 6 bits does the rest.
//
// There are 4 times as many transformed weights, of twice the bytes.
#pragma once

#include "cpu/aligned_buffer.h"
#include "cpu/convolution.h"
#include "cpu/dot_numbers.h"
#include "cpu/dot_winograd_kernels.h"
#include "cpu/int8_weights.h"
#include "cpu/ranges.h"

namespace residual::cpu {

class DotWinogradConv final : public Convolution {
 public:
  // Whether these transforms can compute such a convolution.
  static bool supports(const ConvGeometry& geometry);

  // Whether no sum of these weights can reach 2^25. Only weights that are large nearly everywhere could.
  static bool fits(const ConvGeometry& geometry, const DotNumbers& numbers, const Int8Weights& weights);

  DotWinogradConv(const ConvGeometry& geometry, const DotNumbers& numbers, const DotWinogradKernels& kernels,
                  const Int8Weights& weights, PageArena& arena);

  static int patches(const ConvGeometry& geometry, int batch);

  void run(void* dst, const void* src, const void* residual, int batch, ThreadPool& pool,
           Workspace& workspace) const override;
  WorkspaceSize workspace_size(int batch, int threads) const override;
  size_t bytes() const override {
    return weight_.bytes() + start_.bytes() + scale_.bytes() + padding_.bytes();
  }

 private:
  // The parts of a worker's memory.
  struct Scratch {
    DotBlock* blocks;
    DotRun* runs;
    int32_t* products;
    int16_t* inputs;
  };
  // The transformed inputs of some patches, [kPoints][patches][C].
  struct Transformed {
    int16_t* data;
    Range patches;
    size_t point_stride;  // numbers
    int16_t* at(int patch, int channels) const { return data + size_t(patch - patches.begin) * channels; }
  };

  // A patch of the output: its image and its upper left pixel.
  struct Patch {
    int image, y, x;
  };

  void transform_weights(const Int8Weights& weights);
  int panels() const { return divide_up(geometry_.dst.channels, kPanelColumns); }
  size_t panel_bytes() const { return kPoints * geometry_.src.channels * sizeof(int16_t) * kPanelColumns; }
  Patch patch(int index) const;
  Scratch parts_of(void* scratch) const;
  Transformed transformed(int16_t* data, Range patches) const;
  void transform_inputs(const Transformed& to, const std::byte* src, Range patches) const;
  void run_panels(const DotOutput& output, const Transformed& inputs, Range patches, Range panels,
                  const Scratch& scratch) const;

  ConvGeometry geometry_;
  DotNumbers numbers_;
  const DotWinogradKernels& kernels_;
  int rows_, row_patches_;  // patches of one image, downwards and across
  AlignedBuffer weight_;    // [panel][kPoints][C / 2] rows of kPanelRow bytes: pairs of int16
  AlignedBuffer start_;     // [panel][kPanelColumns] int32
  AlignedBuffer scale_;     // [panel][kPanelColumns]
  AlignedBuffer padding_;   // [C] bytes: what padding reads
};

}  // namespace residual::cpu
