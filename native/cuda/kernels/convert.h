// Converts numbers to the device format and back: bytes or floats of any channel count on one side, padded
// vectors of the session's precision on the other.
#pragma once

#include "cuda/kernels/kernel.h"

namespace residual::cuda {

// dst = src * scale + shift per channel, zeros in the padding. One thread writes one vector: the reads are
// narrow, but this kernel is bound by the 16 bytes it writes for every 3 it reads.
template <typename T>
struct Normalize {
  struct Args {
    T* dst;              // [pixels, padded]
    const uint8_t* src;  // [pixels, channels]
    const float* scale;  // [channels]
    const float* shift;  // [channels]
    int64_t pixels;
    int channels;
    int padded;
  };
  using Shared = NoShared;
  static constexpr int kPhases = 1;
  static constexpr int kThreads = 256;

  static int64_t items(const Args& a) { return a.pixels * (a.padded / kLanes<T>); }

  template <typename Visit>
  static void accesses(const Args& a, const Visit& visit) {
    visit.read(a.src, a.pixels * a.channels);
    visit.read(a.scale, a.channels);
    visit.read(a.shift, a.channels);
    visit.write(a.dst, a.pixels * a.padded);
  }

  RESIDUAL_DEVICE static void phase(int, const Args& a, Shared&, const Thread& thread) {
    const int64_t item = thread.global();
    const int vectors = a.padded / kLanes<T>;
    if (item >= a.pixels * vectors) return;
    const int64_t pixel = item / vectors;
    const int channel = int(item % vectors) * kLanes<T>;
    Vector<T> result;
    for (int i = 0; i < kLanes<T>; i++) {
      const int c = channel + i;
      const float value = c < a.channels ? a.src[pixel * a.channels + c] * a.scale[c] + a.shift[c] : 0.0f;
      result.lane[i] = from_float<T>(value);
    }
    store_vector(a.dst + item * kLanes<T>, result);
  }
};

// dst = src, for images that are already normalised, as float32.
template <typename T>
struct Import {
  struct Args {
    T* dst;            // [pixels, padded]
    const float* src;  // [pixels, channels]
    int64_t pixels;
    int channels;
    int padded;
  };
  using Shared = NoShared;
  static constexpr int kPhases = 1;
  static constexpr int kThreads = 256;

  static int64_t items(const Args& a) { return a.pixels * (a.padded / kLanes<T>); }

  template <typename Visit>
  static void accesses(const Args& a, const Visit& visit) {
    visit.read(a.src, a.pixels * a.channels);
    visit.write(a.dst, a.pixels * a.padded);
  }

  RESIDUAL_DEVICE static void phase(int, const Args& a, Shared&, const Thread& thread) {
    const int64_t item = thread.global();
    const int vectors = a.padded / kLanes<T>;
    if (item >= a.pixels * vectors) return;
    const int64_t pixel = item / vectors;
    const int channel = int(item % vectors) * kLanes<T>;
    Vector<T> result;
    for (int i = 0; i < kLanes<T>; i++)
      result.lane[i] =
          from_float<T>(channel + i < a.channels ? a.src[pixel * a.channels + channel + i] : 0.0f);
    store_vector(a.dst + item * kLanes<T>, result);
  }
};

// dst = src as float32, without the padding: the form in which a run returns it.
template <typename T>
struct Export {
  struct Args {
    float* dst;    // [pixels, channels]
    const T* src;  // [pixels, padded]
    int64_t pixels;
    int channels;
    int padded;
  };
  using Shared = NoShared;
  static constexpr int kPhases = 1;
  static constexpr int kThreads = 256;

  static int64_t items(const Args& a) { return a.pixels * (a.padded / kLanes<T>); }

  template <typename Visit>
  static void accesses(const Args& a, const Visit& visit) {
    visit.read(a.src, a.pixels * a.padded);
    visit.write(a.dst, a.pixels * a.channels);
  }

  RESIDUAL_DEVICE static void phase(int, const Args& a, Shared&, const Thread& thread) {
    const int64_t item = thread.global();
    const int vectors = a.padded / kLanes<T>;
    if (item >= a.pixels * vectors) return;
    const int64_t pixel = item / vectors;
    const int channel = int(item % vectors) * kLanes<T>;
    const Vector<T> vector = load_vector(a.src + item * kLanes<T>);
    float* dst = a.dst + pixel * a.channels + channel;
    const bool aligned = a.channels % 4 == 0;  // then every row of dst is aligned
    for (int i = 0; i < kLanes<T>; i += 4) {
      if (aligned && channel + i + 4 <= a.channels) {
        Vector<float> four;
        for (int j = 0; j < 4; j++) four.lane[j] = to_float(vector.lane[i + j]);
        store_vector(dst + i, four);
      } else {
        for (int j = i; j < i + 4 && channel + j < a.channels; j++) dst[j] = to_float(vector.lane[j]);
      }
    }
  }
};

}  // namespace residual::cuda
