// Which precisions the operations of the CPU backend take.
#pragma once

#include "core/plan.h"
#include "cpu/isa.h"

namespace residual::cpu {

// The kernels for convolutions whose source is kept so; null for float32, which has others.
const DotKernels* dot_kernels_for(core::Precision source, const Isa& isa);

// Throws PRECISION_UNSUPPORTED, naming the operation, for a plan with a combination of precisions that no
// kernel computes, or none of this instruction set.
void check_precisions(const core::Plan& plan, const Isa& isa);

}  // namespace residual::cpu
