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

// Numbers and the shape they have.
struct Operand {
  const Tensor& tensor;
  const Values& values;
};

// Each returns numbers of the shape of `y` that are not rounded to its type yet.

// Products of float32, added up in that or better; or of integers, exact. INTERNAL where what it reads is not
// of the kind it says.
Values convolve(const Node& node, const Tensor& y, const Operand& x, const Operand& weight);

// `by`: null where the mode has one operand. A dimension of 1 is that of `y`, repeated.
// INTERNAL for a mode that is not known here, or shapes that do not fit.
Values pointwise(const Node& node, const Tensor& y, const Operand& x, const Operand* by);

// Maxima, and averages in float64. INTERNAL for a mode that is not known here.
Values resample(const Node& node, const Tensor& y, const Operand& x);

}  // namespace residual::twin
