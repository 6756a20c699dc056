// Any convolution or linear layer of int8 or bf16 numbers on the CPU, as implicit GEMM over blocks of rows
// and panels of output channels (dot_kernels.h). A row is what one output pixel reads under one tap.
#pragma once

#include <vector>

#include "cpu/aligned_buffer.h"
#include "cpu/convolution.h"
#include "cpu/dot_kernels.h"
#include "cpu/dot_rows.h"
#include "cpu/ranges.h"

namespace residual::cpu {

// The bytes that an image consists of, and what they stand for: number = (byte / 255 - mean) / std.
struct ByteInput {
  const std::vector<float>* mean = nullptr;  // [C]; null: the source is not an image's bytes
  const std::vector<float>* std = nullptr;
};

// How the values of a convolution are kept.
struct DotNumbers {
  core::Value src, dst;
  const core::Value* residual = nullptr;  // null: none
  ByteInput bytes;
};

class DotConv final : public Convolution {
 public:
  // Weights that are stored as int8 are taken as they are; others are rounded: to bf16, or to 127ths of each
  // output channel's largest. `bias` is [K]. Throws what reading weights throws.
  DotConv(const ConvGeometry& geometry, const DotNumbers& numbers, const DotKernels& kernels,
          core::StoredWeights& weights, const float* bias, PageArena& arena);

  void run(void* dst, const void* src, const void* residual, int batch, ThreadPool& pool,
           Workspace& workspace) const override;
  WorkspaceSize workspace_size(int batch, int threads) const override;
  size_t bytes() const override { return weight_.bytes() + start_.bytes() + scale_.bytes(); }

 private:
  // Groups that are computed together, as one dense product with zeros between them.
  struct Strip {
    int input, inputs;    // channels
    int output, outputs;  // channels
    int depth;            // bytes of a tap
    int first_panel;
    size_t weight;  // offset in weight_, bytes
    int panels() const { return divide_up(outputs, kPanelColumns); }
  };
  void plan_strips();
  void pack(core::StoredWeights& weights, const float* bias);
  void pack_bf16(const Strip& strip, core::StoredWeights& weights, const float* bias);
  void pack_int8(const Strip& strip, core::StoredWeights& weights, const float* bias);
  template <typename Use>
  void each_part(const Strip& strip, const Use& use);
  template <typename Number>
  void place(const Strip& strip, int k, int count, const Number* channels);
  void set_channel(int column, int k, const int8_t* integers, double scale, double bias);
  double round_weights(float* weights, int8_t* integers, double bias) const;
  void check_range(int k, const int8_t* integers, double start, double scale) const;
  double zeros(const int8_t* integers) const;
  size_t panel_bytes(const Strip& strip) const;
  DotOutput output(void* dst, const void* residual) const;

  ConvGeometry geometry_;
  DotNumbers numbers_;
  const DotKernels& kernels_;
  DotRows rows_;
  std::vector<Strip> strips_;
  int panels_ = 0;        // of all strips
  AlignedBuffer weight_;  // [strip][panel][tap][depth / 4] rows of kPanelRow bytes
  AlignedBuffer start_;   // [panel][kPanelColumns] int32 or float
  AlignedBuffer scale_;   // [panel][kPanelColumns]; int8 only
};

}  // namespace residual::cpu
