// The nodes of an operation graph, as plain loops.
#pragma once

#include <string>
#include <vector>

#include "twin/tensor.h"

namespace residual::twin {

enum class Operation { kConvolution, kPointwise, kResample };

struct Node {
  Operation operation = Operation::kConvolution;
  std::string mode;                   // of pointwise and resample nodes: "CUDNN_POINTWISE_ADD"
  std::string padding_mode;           // of resample nodes
  int64_t x = 0, y = 0, operand = 0;  // uids; operand: W or B, 0 if none
  std::vector<int64_t> padding, stride, dilation, window;  // H, W; padding: before the first row and column
  bool integers = false;                                   // a convolution of integers
};

// Numbers and their shape.
struct Operand {
  const Tensor& tensor;
  const Values& values;
};

// Each returns numbers in the shape of `y`, not yet rounded to its type.

// Sums of products in float32 or better, or exact sums for integers. INTERNAL if the operands are not of the
// type the node computes in.
Values convolve(const Node& node, const Tensor& y, const Operand& x, const Operand& weight);

// `by`: null if the mode has one operand. Dimensions of 1 are broadcast to those of `y`. INTERNAL for an
// unknown mode or shapes that do not match.
Values pointwise(const Node& node, const Tensor& y, const Operand& x, const Operand* by);

// Maxima, and averages in float64. INTERNAL for an unknown mode.
Values resample(const Node& node, const Tensor& y, const Operand& x);

}  // namespace residual::twin
