// The convolutions of a plan that cuDNN runs, for one batch size.
#pragma once

#include "core/plan.h"
#include "cuda/layout.h"

namespace residual::cuda {

struct PlannedConvs {
  static constexpr size_t kNone = size_t(-1);
  std::vector<ConvSpec> specs;     // distinct
  std::vector<size_t> spec_of_op;  // by op; kNone for ops that cuDNN does not run
};

PlannedConvs planned_convs(const core::Plan& plan, const Layout& layout, int batch);

}  // namespace residual::cuda
