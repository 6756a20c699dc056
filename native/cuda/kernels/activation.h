// What softmax and sigmoid are given, and the memory they touch.
#pragma once

#include "cuda/kernels/kernel.h"

namespace residual::cuda {

template <typename T>
struct Activation {
  struct Args {
    float* dst;    // [rows, dst_padded], zeros in the padding
    const T* src;  // [rows, src_padded]
    int64_t rows;
    int channels;
    int src_padded;
    int dst_padded;
  };

  template <typename Visit>
  static void accesses(const Args& a, const Visit& visit) {
    visit.read(a.src, a.rows * a.src_padded);
    visit.write(a.dst, a.rows * a.dst_padded);
  }
};

}  // namespace residual::cuda
