// Executes a cuDNN plan without a GPU: interprets the operation graph that cuDNN itself says it compiled,
// node by node, over the tensors' own dimensions and strides.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "twin/graph_nodes.h"

namespace residual::twin {

class PlanGraph {
 public:
  // From CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION; INTERNAL for anything it cannot execute. `tf32`:
  // float32 operands of convolutions are rounded to ten bits of mantissa, to nearest, ties away from zero:
  // what cvt.rna.tf32 does. (A kernel that lets the tensor cores truncate doubles the error.)
  PlanGraph(const std::string& plan_json, bool tf32);

  const std::vector<Tensor>& tensors() const { return tensors_; }

  // `memory`: of each tensor that is not virtual, by uid. Each node's result is rounded to the type of its
  // output tensor, virtual or not.
  void execute(const std::map<int64_t, void*>& memory) const;

 private:
  const Tensor& tensor(int64_t uid) const;

  bool tf32_;
  std::vector<Tensor> tensors_;
  std::vector<Node> nodes_;
};

}  // namespace residual::twin
