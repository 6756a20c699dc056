// The channels of an image, each multiplied by a number of its own.
#pragma once

#include "cuda/kernels/kernel.h"

namespace residual::cuda {

// dst = src * gate, in float32 and rounded once; a thread per vector of channels of a pixel.
template <typename T>
struct ChannelGate {
  struct Args {
    T* dst;         // [N, pixels, padded]
    const T* src;   // [N, pixels, padded]
    const T* gate;  // [N, padded]
    int64_t batch;
    int pixels;
    int padded;  // channels
  };
  using Shared = NoShared;
  static constexpr int kPhases = 1;
  static constexpr int kThreads = 256;

  static int64_t items(const Args& a) { return a.batch * a.pixels * (a.padded / kLanes<T>); }

  template <typename Visit>
  static void accesses(const Args& a, const Visit& visit) {
    visit.read(a.src, a.batch * a.pixels * a.padded);
    visit.read(a.gate, a.batch * a.padded);
    visit.write(a.dst, a.batch * a.pixels * a.padded);
  }

  RESIDUAL_DEVICE static void phase(int, const Args& a, Shared&, const Thread& thread) {
    const int64_t item = thread.global();
    const int vectors = a.padded / kLanes<T>;
    if (item >= a.batch * a.pixels * vectors) return;
    const int64_t n = item / vectors / a.pixels;
    const Vector<T> src = load_vector(a.src + item * kLanes<T>);
    const Vector<T> gate = load_vector(a.gate + n * a.padded + item % vectors * kLanes<T>);
    Vector<T> result;
    for (int i = 0; i < kLanes<T>; i++)
      result.lane[i] = from_float<T>(to_float(src.lane[i]) * to_float(gate.lane[i]));
    store_vector(a.dst + item * kLanes<T>, result);
  }
};

}  // namespace residual::cuda
