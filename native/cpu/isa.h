// The instruction sets this machine can run, and the kernels for each.
#pragma once

#include <string>
#include <vector>

#include "cpu/kernels.h"

namespace residual::cpu {

// Best first; "baseline" is always last.
std::vector<const Kernels*> supported_kernels();

// The kernels called `name`, or the best for "". Throws BACKEND_UNAVAILABLE if the machine or the build lacks
// them.
const Kernels& select_kernels(const std::string& name);

}  // namespace residual::cpu
