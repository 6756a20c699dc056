// The one list of kernels, from which the device code, its names and the host copies are made.
#pragma once

#include <new>

#include "cuda/kernels/channel_gate.h"
#include "cuda/kernels/conv_direct.h"
#include "cuda/kernels/convert.h"
#include "cuda/kernels/pool.h"
#include "cuda/kernels/sigmoid.h"
#include "cuda/kernels/softmax.h"

// X(name on the device, the struct...)
#define RESIDUAL_KERNELS_OF(X, suffix, T)  \
  X(normalize_##suffix, Normalize<T>)      \
  X(import_##suffix, Import<T>)            \
  X(export_##suffix, Export<T>)            \
  X(max_pool_##suffix, MaxPool<T>)         \
  X(avg_pool_##suffix, AvgPool<T>)         \
  X(softmax_##suffix, Softmax<T>)          \
  X(sigmoid_##suffix, Sigmoid<T>)          \
  X(channel_gate_##suffix, ChannelGate<T>) \
  X(pointwise_##suffix, Pointwise<T>)      \
  X(direct_conv_##suffix, DirectConv<T, T>)

#define RESIDUAL_KERNELS(X)                           \
  RESIDUAL_KERNELS_OF(X, fp16, __half)                \
  RESIDUAL_KERNELS_OF(X, bf16, __nv_bfloat16)         \
  RESIDUAL_KERNELS_OF(X, fp32, float)                 \
  X(direct_conv_fp16_fp32, DirectConv<__half, float>) \
  X(direct_conv_bf16_fp32, DirectConv<__nv_bfloat16, float>)

namespace residual::cuda {

enum class KernelId {
#define RESIDUAL_KERNEL_ID(name, ...) name,
  RESIDUAL_KERNELS(RESIDUAL_KERNEL_ID)
#undef RESIDUAL_KERNEL_ID
};

constexpr const char* kKernelNames[] = {
#define RESIDUAL_KERNEL_NAME(name, ...) #name,
    RESIDUAL_KERNELS(RESIDUAL_KERNEL_NAME)
#undef RESIDUAL_KERNEL_NAME
};
constexpr int kKernelCount = sizeof(kKernelNames) / sizeof(kKernelNames[0]);

template <typename K>
struct KernelIdOf;
#define RESIDUAL_KERNEL_ID_OF(name, ...)              \
  template <>                                         \
  struct KernelIdOf<__VA_ARGS__> {                    \
    static constexpr KernelId value = KernelId::name; \
  };
RESIDUAL_KERNELS(RESIDUAL_KERNEL_ID_OF)
#undef RESIDUAL_KERNEL_ID_OF

// A launch ready to queue: the kernel, the number of threads, and a copy of the arguments.
struct KernelLaunch {
  KernelId kernel{};
  int64_t blocks = 0;
  int threads = 0;  // of a block
  alignas(16) unsigned char args[128] = {};
};

template <typename K>
KernelLaunch launch_of(const typename K::Args& args) {
  static_assert(sizeof(typename K::Args) <= sizeof(KernelLaunch::args));
  KernelLaunch launch;
  launch.kernel = KernelIdOf<K>::value;
  launch.threads = K::kThreads;
  launch.blocks = (K::items(args) + K::kThreads - 1) / K::kThreads;
  new (launch.args) typename K::Args(args);
  return launch;
}

}  // namespace residual::cuda
