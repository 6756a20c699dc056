// Softmax: turns logits into probabilities.
#pragma once

#include <cmath>

#include "cuda/kernels/kernel.h"

namespace residual::cuda {

// exp(src - max) / sum over the channels of each row; a block per row. Whatever the precision, in float32.
template <typename T>
struct Softmax {
  static constexpr int kThreads = 128;

  struct Args {
    float* dst;    // [rows, dst_padded], zeros in the padding
    const T* src;  // [rows, src_padded]
    int64_t rows;
    int channels;
    int src_padded;
    int dst_padded;
  };
  struct Shared {
    float max[kThreads];  // over the channels of each thread
    float sum[kThreads];
  };
  static constexpr int kPhases = 3;

  static int64_t items(const Args& a) { return a.rows * kThreads; }

  template <typename Visit>
  static void accesses(const Args& a, const Visit& visit) {
    visit.read(a.src, a.rows * a.src_padded);
    visit.write(a.dst, a.rows * a.dst_padded);
  }

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
