// Max pooling over windows and average pooling over whole images.
//
// Both are our own kernels rather than cuDNN resample graphs. On paper, ResNet-50's max pool (batch 32, fp16)
// reads 51 MB and writes 13 MB: 21 us at the 3 TB/s of an H100 for any implementation, since the caches serve
// the overlap of its windows (2.25 reads per number). cuDNN could at best be as fast, and would need a plan
// compiled per shape.
#pragma once

#include "cuda/kernels/kernel.h"

namespace residual::cuda {

// The maximum of each window; anything outside the image does not count. NaN in a window gives NaN.
template <typename T>
struct MaxPool {
  struct Args {
    T* dst;        // [N, dst_height, dst_width, padded]
    const T* src;  // [N, height, width, padded]
    int64_t batch;
    int height, width;
    int dst_height, dst_width;
    int padded;  // channels
    int kernel, stride, padding;
  };
  using Shared = NoShared;
  static constexpr int kPhases = 1;
  static constexpr int kThreads = 256;

  static int64_t items(const Args& a) {
    return a.batch * a.dst_height * a.dst_width * (a.padded / kLanes<T>);
  }

  template <typename Visit>
  static void accesses(const Args& a, const Visit& visit) {
    visit.read(a.src, a.batch * a.height * a.width * a.padded);
    visit.write(a.dst, a.batch * a.dst_height * a.dst_width * a.padded);
  }

  // One thread writes one vector of channels of one pixel.
  RESIDUAL_DEVICE static void phase(int, const Args& a, Shared&, const Thread& thread) {
    const int64_t item = thread.global();
    const int vectors = a.padded / kLanes<T>;
    const int64_t pixels = a.batch * a.dst_height * a.dst_width;
    if (item >= pixels * vectors) return;
    const int64_t pixel = item / vectors;
    const int channel = int(item % vectors) * kLanes<T>;
    const int q = int(pixel % a.dst_width);
    const int p = int(pixel / a.dst_width % a.dst_height);
    const int64_t n = pixel / a.dst_width / a.dst_height;
    const int top = p * a.stride - a.padding, left = q * a.stride - a.padding;

    float best[kLanes<T>];
    bool first = true;
    for (int h = top < 0 ? 0 : top; h < top + a.kernel && h < a.height; h++) {
      for (int w = left < 0 ? 0 : left; w < left + a.kernel && w < a.width; w++) {
        const Vector<T> vector = load_vector(a.src + ((n * a.height + h) * a.width + w) * a.padded + channel);
        for (int i = 0; i < kLanes<T>; i++) {
          const float value = to_float(vector.lane[i]);
          if (first || value > best[i] || value != value) best[i] = value;  // nothing is above a NaN
        }
        first = false;
      }
    }
    Vector<T> result;
    for (int i = 0; i < kLanes<T>; i++) result.lane[i] = from_float<T>(best[i]);
    store_vector(a.dst + item * kLanes<T>, result);
  }
};

// The mean over all pixels of each image. A block takes kColumns vectors of channels of one image; kRows
// threads share the pixels of each vector, and the first of them adds up their sums.
template <typename T>
struct AvgPool {
  static constexpr int kColumns = 32;
  static constexpr int kRows = 8;
  // float32 holds a thread's sum of this many of the image's pixels well enough; these sums are then added in
  // double. A GPU may be 64 times slower at that, but does it once per 64 pixels.
  static constexpr int kBlock = 64 * kRows;

  struct Args {
    T* dst;        // [N, padded]
    const T* src;  // [N, pixels, padded]
    int64_t batch;
    int pixels;
    int padded;  // channels
  };
  struct Shared {
    float sum[kRows][kColumns][kLanes<T>];
  };
  static constexpr int kPhases = 2;
  static constexpr int kThreads = kColumns * kRows;

  // Adds every kRows-th pixel from `begin` to before `end`.
  RESIDUAL_DEVICE static void add_up(float* sum, const T* src, int begin, int end, int padded) {
    for (int pixel = begin; pixel < end; pixel += kRows) {
      const Vector<T> vector = load_vector(src + int64_t(pixel) * padded);
      for (int i = 0; i < kLanes<T>; i++) sum[i] += to_float(vector.lane[i]);
    }
  }

  RESIDUAL_DEVICE static int64_t blocks_per_image(const Args& a) {
    return (a.padded / kLanes<T> + kColumns - 1) / kColumns;
  }
  static int64_t items(const Args& a) { return a.batch * blocks_per_image(a) * kThreads; }

  template <typename Visit>
  static void accesses(const Args& a, const Visit& visit) {
    visit.read(a.src, a.batch * a.pixels * a.padded);
    visit.write(a.dst, a.batch * a.padded);
  }

  RESIDUAL_DEVICE static void phase(int p, const Args& a, Shared& shared, const Thread& thread) {
    const int64_t n = thread.block / blocks_per_image(a);
    const int column = thread.index % kColumns, row = thread.index / kColumns;
    const int64_t channel = (thread.block % blocks_per_image(a) * kColumns + column) * kLanes<T>;
    if (channel >= a.padded) return;
    if (p == 0) {
      const T* const src = a.src + n * a.pixels * a.padded + channel;
      float sum[kLanes<T>] = {};
      if (a.pixels <= kBlock) {
        add_up(sum, src, row, a.pixels, a.padded);
      } else {
        double sums[kLanes<T>] = {};
        for (int begin = row; begin < a.pixels; begin += kBlock) {
          float block[kLanes<T>] = {};
          add_up(block, src, begin, a.pixels - begin < kBlock ? a.pixels : begin + kBlock, a.padded);
          for (int i = 0; i < kLanes<T>; i++) sums[i] += block[i];
        }
        for (int i = 0; i < kLanes<T>; i++) sum[i] = float(sums[i]);
      }
      for (int i = 0; i < kLanes<T>; i++) shared.sum[row][column][i] = sum[i];
    } else if (row == 0) {
      Vector<T> result;
      for (int i = 0; i < kLanes<T>; i++) {
        float sum = 0.0f;
        for (int r = 0; r < kRows; r++) sum += shared.sum[r][column][i];
        result.lane[i] = from_float<T>(sum / a.pixels);
      }
      store_vector(a.dst + n * a.padded + channel, result);
    }
  }
};

}  // namespace residual::cuda
