// The operations without weights on the CPU.
#pragma once

#include <array>

#include "core/plan.h"
#include "cpu/kernels.h"
#include "cpu/thread_pool.h"
#include "cpu/workspace.h"

namespace residual::cpu {

// One such operation on `batch` images.
struct LightOp {
  const core::Plan& plan;
  const core::Op& op;
  int batch;
  float* dst;                                              // [N,H,W,C]
  std::array<const float*, core::kMostOperands> operands;  // in the order of the op's row; null where absent
  const uint8_t* bytes;                                    // of normalize, [N,H,W,C]: the session's input

  const float* src() const { return operands[0]; }
};

// Computes it; a kind with weights is none of these.
void run_light_op(const LightOp& light, const Kernels& kernels, ThreadPool& pool, Workspace& workspace);

// What computing it needs.
WorkspaceSize light_op_workspace(const core::Op& op);

}  // namespace residual::cpu
