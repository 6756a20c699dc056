// How is a plan of cuDNN's executed without a GPU? From the operation graph that cuDNN itself says it
// compiled, node by node, over the tensors' own dimensions and strides.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace residual::twin {

struct Tensor {
  int64_t uid = 0;
  std::string type;  // "CUDNN_DATA_HALF"
  std::vector<int64_t> dims, strides;
  bool is_virtual = false;

  int64_t count() const;  // of elements
  size_t bytes() const;   // from the first element to the end of the last
};

struct Node {
  std::string operation;              // "CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR"
  std::string mode;                   // of pointwise operations
  int64_t x = 0, y = 0, operand = 0;  // uids; operand: W or B, 0 if none
  std::vector<int64_t> padding, stride, dilation;
};

class PlanGraph {
 public:
  // From CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION. `tf32`: float32 operands of convolutions are rounded
  // to ten bits of mantissa, to nearest, ties away from zero: what cvt.rna.tf32 does. (A kernel that leaves
  // it to the tensor cores to cut off the rest doubles the error.)
  PlanGraph(const std::string& plan_json, bool tf32);

  const std::vector<Tensor>& tensors() const { return tensors_; }

  // `memory`: of each tensor that is not virtual, by uid. Sums are float32 or better; what is stored is
  // rounded to each tensor's type.
  void execute(const std::map<int64_t, void*>& memory) const;

 private:
  const Tensor& tensor(int64_t uid) const;

  bool tf32_;
  std::vector<Tensor> tensors_;
  std::vector<Node> nodes_;
};

}  // namespace residual::twin
