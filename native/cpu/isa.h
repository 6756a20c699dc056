// The instruction sets this machine can run, and the kernels for each.
#pragma once

#include <string>
#include <vector>

#include "cpu/dot_kernels.h"
#include "cpu/kernels.h"

namespace residual::cpu {

// Which kernels are used with an instruction set and all that it includes.
struct Isa {
  const char* name;
  const Kernels* fp32;
  const DotKernels* int8;
  const DotKernels* bf16;  // null where bf16 has nothing to gain over float32
};

// Best first; "baseline" is always last, but for the emulated ones that addons for tests have.
const std::vector<Isa>& supported_isas();

// The instruction set called `name`, or the best for "". Throws BACKEND_UNAVAILABLE if the machine or the
// build lacks it.
const Isa& select_isa(const std::string& name);

}  // namespace residual::cpu
