// Any convolution or linear layer of int8 or bf16 numbers on the CPU, as implicit GEMM over blocks of rows
// and panels of output channels (dot_kernels.h). A row is what one output pixel reads under one tap.
#pragma once

#include <vector>

#include "cpu/aligned_buffer.h"
#include "cpu/convolution.h"
#include "cpu/dot_numbers.h"
#include "cpu/dot_rows.h"
#include "cpu/int8_weights.h"
#include "cpu/ranges.h"

namespace residual::cpu {

class DotConv final : public Convolution {
 public:
  DotConv(const ConvGeometry& geometry, const DotNumbers& numbers, const DotKernels& kernels,
          const Int8Weights& weights, PageArena& arena);
  // In bf16: weights are rounded. `bias` is [K]. Throws what reading weights throws.
  DotConv(const ConvGeometry& geometry, const DotNumbers& numbers, const DotKernels& kernels,
          core::StoredWeights& weights, const float* bias, PageArena& arena);

  void run(void* dst, const void* src, const void* residual, int batch, ThreadPool& pool,
           Workspace& workspace) const override;
  WorkspaceSize workspace_size(int batch, int threads) const override;
  size_t bytes() const override {
    return weight_.bytes() + start_.bytes() + scale_.bytes() + bounds_.size() * sizeof(Bounds);
  }

 private:
  // Groups that are computed together, as one dense product with zeros between them.
  struct Strip {
    int input, inputs;    // channels
    int output, outputs;  // channels
    int depth;            // bytes of a tap
    int first_panel;
    size_t weight;  // offset in weight_, bytes
    size_t bounds;  // offset in bounds_
    int panels() const { return divide_up(outputs, kPanelColumns); }
  };
  DotConv(const ConvGeometry& geometry, const DotNumbers& numbers, const DotKernels& kernels,
          PageArena& arena);
  void plan_strips();
  void pack_bf16(const Strip& strip, core::StoredWeights& weights, const float* bias);
  void pack_int8(const Strip& strip, const Int8Weights& weights);
  template <typename Use>
  void each_part(const Strip& strip, const Use& use);
  template <typename Number>
  void place(const Strip& strip, int k, int count, const Number* channels);
  size_t panel_bytes(const Strip& strip) const;
  size_t panel_bounds(const Strip& strip) const;
  void find_bounds(const Strip& strip);

  ConvGeometry geometry_;
  DotNumbers numbers_;
  const DotKernels& kernels_;
  DotRows rows_;
  std::vector<Strip> strips_;
  int panels_ = 0;              // of all strips
  AlignedBuffer weight_;        // [strip][panel][tap][depth / 4] rows of kPanelRow bytes
  AlignedBuffer start_;         // [panel][kPanelColumns] int32 or float
  AlignedBuffer scale_;         // [panel][kPanelColumns]; int8 only
  std::vector<Bounds> bounds_;  // [strip][panel][tap][depth / kBoundedBytes], if kernels_.has_bounds
};

}  // namespace residual::cpu
