// Two kernels for the convolutions cuDNN does not run: one for those that mix no channels (what is left of a
// batch norm, a sum or a ReLU that no convolution could absorb), and a plain one for groups of odd sizes and
// anything cuDNN refuses.
#pragma once

#include "cuda/kernels/kernel.h"

namespace residual::cuda {

// dst = relu(src * weight + bias + residual), per channel: a 1x1 depthwise convolution. Bound by memory: one
// vector per thread.
template <typename T>
struct Pointwise {
  struct Args {
    T* dst;               // [pixels, padded]
    const T* src;         // [pixels, padded]
    const float* weight;  // [padded]
    const float* bias;    // [padded]
    const T* residual;    // [pixels, padded] or null
    int64_t pixels;
    int padded;  // channels
    bool relu;
  };
  using Shared = NoShared;
  static constexpr int kPhases = 1;
  static constexpr int kThreads = 256;

  static int64_t items(const Args& a) { return a.pixels * (a.padded / kLanes<T>); }

  template <typename Visit>
  static void accesses(const Args& a, const Visit& visit) {
    visit.read(a.src, a.pixels * a.padded);
    visit.read(a.weight, a.padded);
    visit.read(a.bias, a.padded);
    if (a.residual) visit.read(a.residual, a.pixels * a.padded);
    visit.write(a.dst, a.pixels * a.padded);
  }

  RESIDUAL_DEVICE static void phase(int, const Args& a, Shared&, const Thread& thread) {
    const int64_t item = thread.global();
    const int vectors = a.padded / kLanes<T>;
    if (item >= a.pixels * vectors) return;
    const int channel = int(item % vectors) * kLanes<T>;
    const Vector<T> src = load_vector(a.src + item * kLanes<T>);
    Vector<T> residual{};
    if (a.residual) residual = load_vector(a.residual + item * kLanes<T>);
    Vector<T> result;
    for (int i = 0; i < kLanes<T>; i++) {
      float sum = to_float(src.lane[i]) * a.weight[channel + i] + a.bias[channel + i];
      if (a.residual) sum += to_float(residual.lane[i]);
      result.lane[i] = from_float<T>(relu_if(a.relu, sum));
    }
    store_vector(a.dst + item * kLanes<T>, result);
  }
};

// dst = relu(conv(src, weight) * scale + bias + residual), one thread per number of dst. Slow but right.
template <typename T, typename Dst>
struct DirectConv {
  struct Args {
    Dst* dst;            // [N, dst_height, dst_width, dst_padded], zeros in the padding
    const T* src;        // [N, height, width, src_padded]
    const T* weight;     // [dst_channels, kernel, kernel, weight_channels]
    const float* scale;  // [dst_channels] or null
    const float* bias;   // [dst_channels]
    const T* residual;   // as dst, or null
    int64_t batch;
    int height, width;
    int src_channels, src_padded;
    int dst_height, dst_width;
    int dst_channels, dst_padded;
    int weight_channels;  // src_channels / groups, plus padding if there is one group
    int kernel, stride, padding, groups;
    bool relu;
  };
  using Shared = NoShared;
  static constexpr int kPhases = 1;
  static constexpr int kThreads = 256;

  static int64_t items(const Args& a) { return a.batch * a.dst_height * a.dst_width * a.dst_padded; }

  template <typename Visit>
  static void accesses(const Args& a, const Visit& visit) {
    const int64_t dst = a.batch * a.dst_height * a.dst_width * a.dst_padded;
    visit.read(a.src, a.batch * a.height * a.width * a.src_padded);
    visit.read(a.weight, int64_t(a.dst_channels) * a.kernel * a.kernel * a.weight_channels);
    if (a.scale) visit.read(a.scale, a.dst_channels);
    visit.read(a.bias, a.dst_channels);
    if (a.residual) visit.read(a.residual, dst);
    visit.write(a.dst, dst);
  }

  RESIDUAL_DEVICE static void phase(int, const Args& a, Shared&, const Thread& thread) {
    const int64_t item = thread.global();
    if (item >= a.batch * a.dst_height * a.dst_width * a.dst_padded) return;
    const int k = int(item % a.dst_padded);
    if (k >= a.dst_channels) {
      a.dst[item] = from_float<Dst>(0.0f);
      return;
    }
    const int64_t pixel = item / a.dst_padded;
    const int q = int(pixel % a.dst_width);
    const int p = int(pixel / a.dst_width % a.dst_height);
    const int64_t n = pixel / a.dst_width / a.dst_height;
    const int channels = a.src_channels / a.groups;                // of one group
    const int first = k / (a.dst_channels / a.groups) * channels;  // of src
    float sum = 0.0f;
    for (int r = 0; r < a.kernel; r++) {
      const int h = p * a.stride - a.padding + r;
      if (h < 0 || h >= a.height) continue;
      for (int s = 0; s < a.kernel; s++) {
        const int w = q * a.stride - a.padding + s;
        if (w < 0 || w >= a.width) continue;
        const T* src = a.src + ((n * a.height + h) * a.width + w) * a.src_padded + first;
        const T* weight = a.weight + ((int64_t(k) * a.kernel + r) * a.kernel + s) * a.weight_channels;
        for (int c = 0; c < channels; c++) sum += to_float(src[c]) * to_float(weight[c]);
      }
    }
    if (a.scale) sum *= a.scale[k];
    sum += a.bias[k];
    if (a.residual) sum += to_float(a.residual[item]);
    a.dst[item] = from_float<Dst>(relu_if(a.relu, sum));
  }
};

}  // namespace residual::cuda
