// The part of the CUDA runtime we use, from a library found at run time, like cuDNN.
#pragma once

#include <cuda_runtime_api.h>

#include <string>
#include <vector>

namespace residual::cuda {

// X(function): under their own names without the prefix.
// clang-format off
#define RESIDUAL_CUDART_FUNCTIONS(X)                                                         \
  X(DriverGetVersion) X(RuntimeGetVersion) X(GetErrorName) X(GetErrorString) X(GetLastError) \
  X(GetDeviceCount) X(GetDeviceProperties) X(SetDevice) X(MemGetInfo)                        \
  X(Malloc) X(Free) X(HostAlloc) X(FreeHost) X(MemcpyAsync) X(MemsetAsync)                   \
  X(StreamCreateWithFlags) X(StreamDestroy) X(StreamWaitEvent)                               \
  X(StreamBeginCapture) X(StreamEndCapture)                                                  \
  X(EventCreateWithFlags) X(EventDestroy) X(EventRecord) X(EventSynchronize) X(EventElapsedTime)      \
  X(GraphInstantiate) X(GraphLaunch) X(GraphDestroy) X(GraphExecDestroy)                     \
  X(LibraryLoadData) X(LibraryUnload) X(LibraryGetKernel) X(LaunchKernel)
// clang-format on

struct Cudart {
#define RESIDUAL_CUDART_MEMBER(name) decltype(&::cuda##name) name;
  RESIDUAL_CUDART_FUNCTIONS(RESIDUAL_CUDART_MEMBER)
#undef RESIDUAL_CUDART_MEMBER
};

// Opens the runtime once per process; later calls do nothing. `candidates` are paths of libcudart.so.13, best
// first. Throws BACKEND_UNAVAILABLE if none opens, there is no driver, or it is too old for the runtime.
void load_cudart(const std::vector<std::string>& candidates);

// The functions. Throws BACKEND_UNAVAILABLE before load_cudart has succeeded.
const Cudart& cudart();

// Throws unless `status` is a success: DEVICE_LOST, OUT_OF_MEMORY or INTERNAL.
void check(cudaError_t status, const std::string& what);

}  // namespace residual::cuda
