// Runs a kernel without a GPU: its host copy, thread by thread and phase by phase, over the same grid.
#pragma once

#include <string>

#include "cuda/kernels/kernel_list.h"
#include "twin/memory.h"

namespace residual::twin {

// First checks that everything the kernel declares to read has been written and is device memory; errors name
// `user`.
void run_kernel(const cuda::KernelLaunch& launch, Memory& memory, const std::string& user);

}  // namespace residual::twin
