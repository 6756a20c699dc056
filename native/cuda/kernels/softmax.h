// Softmax: turns logits into probabilities.
#pragma once

#include <cmath>

#include "cuda/kernels/activation.h"

namespace residual::cuda {

// exp(src - max) / sum over the channels of each row; a block per row. Whatever the precision, in float32.
template <typename T>
struct Softmax : Activation<T> {
  static constexpr int kThreads = 128;

  using Args = typename Activation<T>::Args;
  struct Shared {
    float max[kThreads];  // over the channels of each thread
    float sum[kThreads];
  };
  static constexpr int kPhases = 3;

  static int64_t items(const Args& a) { return a.rows * kThreads; }

  RESIDUAL_DEVICE static void phase(int p, const Args& a, Shared& shared, const Thread& thread) {
    const T* src = a.src + thread.block * a.src_padded;
    if (p == 0) {
      float max = -INFINITY;
      for (int c = thread.index; c < a.channels; c += kThreads) max = fmaxf(max, to_float(src[c]));
      shared.max[thread.index] = max;
      return;
    }
    float max = shared.max[0];
    for (int i = 1; i < kThreads; i++) max = fmaxf(max, shared.max[i]);
    if (p == 1) {
      float sum = 0.0f;
      for (int c = thread.index; c < a.channels; c += kThreads) sum += expf(to_float(src[c]) - max);
      shared.sum[thread.index] = sum;
      return;
    }
    float sum = 0.0f;
    for (int i = 0; i < kThreads; i++) sum += shared.sum[i];
    float* dst = a.dst + thread.block * a.dst_padded;
    for (int c = thread.index; c < a.dst_padded; c += kThreads)
      dst[c] = c < a.channels ? expf(to_float(src[c]) - max) / sum : 0.0f;
  }
};

}  // namespace residual::cuda
