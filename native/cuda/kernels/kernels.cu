// The device's copies of the kernels: their launch and nothing else. Compiled to one fatbin, which the addon
// carries.
#include "cuda/kernels/kernel_list.h"

namespace residual::cuda {

template <typename K>
__device__ __forceinline__ void run_phases(const typename K::Args& args) {
  __shared__ typename K::Shared shared;
  const Thread thread{int64_t(blockIdx.x), int(threadIdx.x), int(blockDim.x)};
  for (int p = 0; p < K::kPhases; p++) {
    if (p > 0) __syncthreads();
    K::phase(p, args, shared, thread);
  }
}

#define RESIDUAL_GLOBAL(name, ...)                                                                   \
  extern "C" __global__ void __launch_bounds__(__VA_ARGS__::kThreads) name(__VA_ARGS__::Args args) { \
    run_phases<__VA_ARGS__>(args);                                                                   \
  }
RESIDUAL_KERNELS(RESIDUAL_GLOBAL)

}  // namespace residual::cuda
