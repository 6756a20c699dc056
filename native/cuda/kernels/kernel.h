// What a kernel is: plain functions of a thread's position, compiled for the device by nvcc and for the host
// by any compiler, where they are tested. A .cu file only launches them and holds no arithmetic.
//
// A kernel is a struct with
//   Args      what it is given, by value: pointers and sizes
//   Shared    what the threads of a block share, or NoShared
//   kPhases   how many phases it has; all threads of a block finish one before any begins the next
//   phase(p, args, shared, thread)   what one thread does in phase p
//   items(args)                      how many threads it takes, kThreads to a block
//   accesses(args, visit)            the memory it reads and writes, in elements: for the twin, which checks
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#ifdef __CUDACC__
#define RESIDUAL_DEVICE __host__ __device__ __forceinline__
#else
#define RESIDUAL_DEVICE inline
#endif

namespace residual::cuda {

struct Thread {
  int64_t block = 0;
  int index = 0;    // in its block
  int threads = 1;  // of a block

  RESIDUAL_DEVICE int64_t global() const { return block * threads + index; }
};

struct NoShared {};

RESIDUAL_DEVICE float to_float(float x) { return x; }
RESIDUAL_DEVICE float to_float(__half x) { return __half2float(x); }
RESIDUAL_DEVICE float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }

// Rounds to nearest, ties to even.
template <typename T>
RESIDUAL_DEVICE T from_float(float x);
template <>
RESIDUAL_DEVICE float from_float<float>(float x) {
  return x;
}
template <>
RESIDUAL_DEVICE __half from_float<__half>(float x) {
  return __float2half_rn(x);
}
template <>
RESIDUAL_DEVICE __nv_bfloat16 from_float<__nv_bfloat16>(float x) {
  return __float2bfloat16_rn(x);
}

// Channels in one 16-byte access. Values are padded with zeros to a multiple of this, so that no access is
// narrower.
template <typename T>
constexpr int kLanes = 16 / sizeof(T);

template <typename T>
struct alignas(16) Vector {
  T lane[kLanes<T>];
};

template <typename T>
RESIDUAL_DEVICE Vector<T> load_vector(const T* from) {
  return *reinterpret_cast<const Vector<T>*>(from);
}

template <typename T>
RESIDUAL_DEVICE void store_vector(T* to, const Vector<T>& vector) {
  *reinterpret_cast<Vector<T>*>(to) = vector;
}

// NaN stays NaN.
RESIDUAL_DEVICE float relu_if(bool relu, float x) { return relu && x < 0.0f ? 0.0f : x; }

}  // namespace residual::cuda
