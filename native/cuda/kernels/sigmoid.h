// Sigmoid: turns each logit into a probability of its own.
#pragma once

#include <cmath>

#include "cuda/kernels/activation.h"

namespace residual::cuda {

// 1 / (1 + exp(-x)); a thread per number. Whatever the precision, in float32.
template <typename T>
struct Sigmoid : Activation<T> {
  static constexpr int kThreads = 128;

  using Args = typename Activation<T>::Args;
  using Shared = NoShared;
  static constexpr int kPhases = 1;

  static int64_t items(const Args& a) { return a.rows * a.dst_padded; }

  RESIDUAL_DEVICE static void phase(int, const Args& a, Shared&, const Thread& thread) {
    const int64_t i = thread.global();
    if (i >= a.rows * a.dst_padded) return;
    const int c = static_cast<int>(i % a.dst_padded);
    const T* src = a.src + i / a.dst_padded * a.src_padded;
    a.dst[i] = c < a.channels ? 1.0f / (1.0f + expf(-to_float(src[c]))) : 0.0f;
  }
};

}  // namespace residual::cuda
