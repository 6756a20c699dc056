// The operations without weights on the CPU.
#pragma once

#include <array>

#include "core/backend.h"
#include "cpu/kernels.h"
#include "cpu/thread_pool.h"
#include "cpu/workspace.h"

namespace residual::cpu {

// One such operation on `batch` images.
struct LightOp {
  const core::Plan& plan;
  const core::Op& op;
  int batch;
  void* dst;                                              // [N,H,W,C]
  std::array<const void*, core::kMostOperands> operands;  // in the order of the op's row; null where absent
  core::Input input;                                      // of normalize

  // As floats.
  float* floats() const { return static_cast<float*>(dst); }
  const float* src(int operand = 0) const { return static_cast<const float*>(operands[operand]); }
};

// Computes it; a kind with weights is none of these. Throws INPUT_OUT_OF_RANGE for floats that no bytes
// become.
void run_light_op(const LightOp& light, const Kernels& kernels, ThreadPool& pool, Workspace& workspace);

// What computing it needs.
WorkspaceSize light_op_workspace(const core::Op& op);

}  // namespace residual::cpu
