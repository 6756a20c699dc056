// NVRTC, with which cuDNN compiles its kernels. It is opened before cuDNN, which then finds it by name.
#pragma once

#include <string>
#include <vector>

namespace residual::cuda {

// Opens NVRTC and its builtins. `candidates` are paths of libnvrtc.so.13, best first. Throws
// BACKEND_UNAVAILABLE if none opens.
void open_nvrtc(const std::vector<std::string>& candidates);

}  // namespace residual::cuda
