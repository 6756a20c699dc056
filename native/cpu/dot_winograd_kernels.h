// What the CPU can do for 3x3 convolutions of int8 numbers by Winograd's transforms, F(4x4,3x3) in integers.
// dot_winograd.h explains them and arranges the memory.
#pragma once

#include "cpu/dot_kernels.h"

namespace residual::cpu {

constexpr int kPatch = 4;  // output pixels of a patch, in both directions
constexpr int kPatchPixels = kPatch * kPatch;
constexpr int kInputPatch = 6;                      // input pixels that it is made of
constexpr int kPoints = kInputPatch * kInputPatch;  // of the transforms
constexpr int kWinogradUnit = 32;  // input channels: a multiple of what kernels transform at once

// Some patches times some panels.
struct DotWinogradTask {
  // What becomes of the sums. A block is a patch of kPatchPixels rows; `tap_count` is kPoints and `depth` the
  // bytes of a transformed input. Sources and taps are not set.
  DotTask dot;
  const int16_t* inputs;  // [kPoints][patches][C], transformed
  size_t point_stride;    // numbers, of inputs
  int32_t* products;      // [kPoints] of winograd_product_stride(patches): scratch
};

// Of the products of one point, [patches][2 panels of kPanelColumns]. A line more than they are: points must
// not compete for the same few sets of the first-level cache.
constexpr size_t winograd_product_stride(int patches) {
  return size_t(patches) * 2 * kPanelColumns + 64 / sizeof(int32_t);
}

struct DotWinogradKernels {
  // What a product of int16 costs, compared with a product of int8 of the same instruction set.
  int product_cost;
  // Measured: with more weights, transformed ones take longer to read than the products they save...
  size_t most_weights;
  // ...and so do many weights that fewer patches of a batch share.
  int least_patches;
  // Transforms a patch, of `channels` channels: sources[kPoints] are its pixels. The results for the points
  // are `stride` numbers apart.
  void (*input)(int16_t* dst, size_t stride, const std::byte* const* sources, int channels, bool is_signed);
  void (*run)(const DotWinogradTask& task);
};

#if defined(__x86_64__)
extern const DotWinogradKernels kAvx2WinogradKernels;
#endif

}  // namespace residual::cpu
