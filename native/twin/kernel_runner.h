// Runs a kernel without a GPU: its host copy, thread by thread and phase by phase, over the same grid.
#pragma once

#include <string>

#include "cuda/kernels/kernel_list.h"
#include "twin/memory.h"

namespace residual::twin {

// Checks beforehand that what the kernel says it reads was written and is the device's; `user` is named in
// errors.
void run_kernel(const cuda::KernelLaunch& launch, Memory& memory, const std::string& user);

}  // namespace residual::twin
