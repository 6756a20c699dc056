// The transforms of Winograd's convolutions. Part of kernels_impl.h, with its vectors.
//
// In one direction m neighbouring outputs of a kernel (g0, g1, g2) come from products of transformed inputs
// and transformed weights: output = A^T ((G kernel) * (B^T input)); in both directions of the image one
// transform is applied after the other. With stride 1 these are F(m,3), their matrices those of Lavin and
// Gray, https://arxiv.org/abs/1509.09308. With stride 2, g0 and g2 meet only every second input, which is
// F(m,2) by the same construction (for m = 4 at the points 0, 1, -1, 2 and infinity), and g1 meets the inputs
// in between, where nothing can be saved: m plain products, all with the weight g1.
#pragma once

namespace residual::cpu {
namespace {

// Each has kWeights transformed weights for kIn products; further products all use the last one. from[i] and
// to[i] are `step` apart.
template <int kStride, int kOut>
struct Winograd;

template <>
struct Winograd<1, 2> {
  static constexpr int kIn = 4, kWeights = 4;

  static void weight_line(Vec* to, const Vec* from, int step) {
    const Vec g0 = from[0], g1 = from[step], g2 = from[2 * step];
    const Vec even = 0.5f * (g0 + g2), odd = 0.5f * g1;
    to[0] = g0;
    to[step] = even + odd;
    to[2 * step] = even - odd;
    to[3 * step] = g2;
  }

  static void input_line(Vec* to, const Vec* from, int step) {
    const Vec d0 = from[0], d1 = from[step], d2 = from[2 * step], d3 = from[3 * step];
    to[0] = d0 - d2;
    to[step] = d1 + d2;
    to[2 * step] = d2 - d1;
    to[3 * step] = d1 - d3;
  }

  static void output_line(Vec* to, const Vec* from, int step) {
    const Vec m0 = from[0], m1 = from[step], m2 = from[2 * step], m3 = from[3 * step];
    to[0] = m0 + m1 + m2;
    to[step] = m1 - m2 - m3;
  }
};

template <>
struct Winograd<1, 4> {
  static constexpr int kIn = 6, kWeights = 6;

  static void weight_line(Vec* to, const Vec* from, int step) {
    const Vec g0 = from[0], g1 = from[step], g2 = from[2 * step];
    const Vec even = (-1.0f / 6) * (g0 + g2), odd = (-1.0f / 6) * g1;
    const Vec even2 = (1.0f / 24) * g0 + (1.0f / 6) * g2, odd2 = (1.0f / 12) * g1;
    to[0] = 0.25f * g0;
    to[step] = even + odd;
    to[2 * step] = even - odd;
    to[3 * step] = even2 + odd2;
    to[4 * step] = even2 - odd2;
    to[5 * step] = g2;
  }

  static void input_line(Vec* to, const Vec* from, int step) {
    const Vec d0 = from[0], d1 = from[step], d2 = from[2 * step], d3 = from[3 * step], d4 = from[4 * step],
              d5 = from[5 * step];
    const Vec even = d4 - 4.0f * d2, odd = d3 - 4.0f * d1;
    const Vec even2 = d4 - d2, odd2 = 2.0f * (d3 - d1);
    to[0] = 4.0f * d0 - 5.0f * d2 + d4;
    to[step] = even + odd;
    to[2 * step] = even - odd;
    to[3 * step] = even2 + odd2;
    to[4 * step] = even2 - odd2;
    to[5 * step] = 4.0f * d1 - 5.0f * d3 + d5;
  }

  static void output_line(Vec* to, const Vec* from, int step) {
    const Vec m0 = from[0], m1 = from[step], m2 = from[2 * step], m3 = from[3 * step], m4 = from[4 * step],
              m5 = from[5 * step];
    const Vec sum = m1 + m2, difference = m1 - m2, sum2 = m3 + m4, difference2 = m3 - m4;
    to[0] = m0 + sum + sum2;
    to[step] = difference + 2.0f * difference2;
    to[2 * step] = sum + 4.0f * sum2;
    to[3 * step] = difference + 8.0f * difference2 + m5;
  }
};

template <>
struct Winograd<2, 2> {
  static constexpr int kIn = 5, kWeights = 4;

  static void weight_line(Vec* to, const Vec* from, int step) {
    const Vec g0 = from[0], g1 = from[step], g2 = from[2 * step];
    to[0] = g0;
    to[step] = g0 + g2;
    to[2 * step] = g2;
    to[3 * step] = g1;
  }

  static void input_line(Vec* to, const Vec* from, int step) {
    const Vec d0 = from[0], d1 = from[step], d2 = from[2 * step], d3 = from[3 * step], d4 = from[4 * step];
    to[0] = d0 - d2;
    to[step] = d2;
    to[2 * step] = d4 - d2;
    to[3 * step] = d1;
    to[4 * step] = d3;
  }

  static void output_line(Vec* to, const Vec* from, int step) {
    const Vec m0 = from[0], m1 = from[step], m2 = from[2 * step], m3 = from[3 * step], m4 = from[4 * step];
    to[0] = m0 + m1 + m3;
    to[step] = m1 + m2 + m4;
  }
};

template <>
struct Winograd<2, 4> {
  static constexpr int kIn = 9, kWeights = 6;

  static void weight_line(Vec* to, const Vec* from, int step) {
    const Vec g0 = from[0], g1 = from[step], g2 = from[2 * step];
    to[0] = 0.5f * g0;
    to[step] = -0.5f * (g0 + g2);
    to[2 * step] = (1.0f / 6) * (g2 - g0);
    to[3 * step] = (1.0f / 6) * g0 + (1.0f / 3) * g2;
    to[4 * step] = g2;
    to[5 * step] = g1;
  }

  static void input_line(Vec* to, const Vec* from, int step) {
    const Vec d0 = from[0], d2 = from[2 * step], d4 = from[4 * step], d6 = from[6 * step],
              d8 = from[8 * step];
    const Vec odd = d6 - d2;
    to[0] = 2.0f * (d0 - d4) + odd;
    to[step] = d6 - d4 - 2.0f * d2;
    to[2 * step] = 2.0f * d2 - 3.0f * d4 + d6;
    to[3 * step] = odd;
    to[4 * step] = d8 - d4 - 2.0f * odd;
    for (int i = 0; i < 4; i++) to[(5 + i) * step] = from[(2 * i + 1) * step];
  }

  static void output_line(Vec* to, const Vec* from, int step) {
    const Vec m0 = from[0], m1 = from[step], m2 = from[2 * step], m3 = from[3 * step], m4 = from[4 * step];
    const Vec sum = m1 + m2, difference = m1 - m2;
    to[0] = m0 + sum + m3 + from[5 * step];
    to[step] = difference + 2.0f * m3 + from[6 * step];
    to[2 * step] = sum + 4.0f * m3 + from[7 * step];
    to[3 * step] = difference + 8.0f * m3 + m4 + from[8 * step];
  }
};

template <int kStride, int kOut>
void winograd_input(float* dst, size_t stride, const float* const* sources, int channels) {
  using Lines = Winograd<kStride, kOut>;
  constexpr int kIn = Lines::kIn;
  for (int c = 0; c < channels; c += kLanes) {
    Vec half[kIn * kIn];
    for (int column = 0; column < kIn; column++) {
      Vec patch[kIn];
      for (int row = 0; row < kIn; row++) patch[row] = load(sources[row * kIn + column] + c);
      Vec line[kIn];
      Lines::input_line(line, patch, 1);
      for (int row = 0; row < kIn; row++) half[row * kIn + column] = line[row];
    }
    for (int row = 0; row < kIn; row++) {
      Vec line[kIn];
      Lines::input_line(line, half + row * kIn, 1);
      for (int column = 0; column < kIn; column++)
        store(dst + (row * kIn + column) * stride + c, line[column]);
    }
  }
}

template <int kStride, int kOut>
void winograd_output(const WinogradOutput& o) {
  using Lines = Winograd<kStride, kOut>;
  constexpr int kIn = Lines::kIn;
  for (int c = 0; c < o.channels; c += kLanes) {
    Vec half[kOut * kIn];
    for (int column = 0; column < kIn; column++) {
      Vec products[kIn], line[kOut];
      for (int row = 0; row < kIn; row++)
        products[row] = load(o.products + (row * kIn + column) * o.stride + c);
      Lines::output_line(line, products, 1);
      for (int row = 0; row < kOut; row++) half[row * kIn + column] = line[row];
    }
    const Vec bias = load(o.bias + c);
    for (int row = 0; row < o.rows; row++) {
      Vec line[kOut];
      Lines::output_line(line, half + row * kIn, 1);
      for (int column = 0; column < o.columns; column++) {
        const size_t at = row * o.row_stride + column * o.pixel_stride + c;
        Vec y = line[column] + bias;
        if (o.residual) y += load(o.residual + at);
        store(o.dst + at, o.relu ? max(y, Vec{}) : y);
      }
    }
  }
}

template <int kStride, int kOut>
void winograd_weight(const WinogradWeight& w) {
  using Lines = Winograd<kStride, kOut>;
  constexpr int kWeights = Lines::kWeights;
  for (int c = 0; c < w.channels; c++)
    for (int v = 0; v < w.columns; v += kLanes) {
      const float* const kernel = w.kernel + size_t(c) * 9 * w.columns + v;
      float* const dst = w.dst + size_t(c) * w.columns + v;
      Vec half[kWeights * 3];
      for (int column = 0; column < 3; column++) {
        Vec taps[3], line[kWeights];
        for (int row = 0; row < 3; row++) taps[row] = load(kernel + (row * 3 + column) * w.columns);
        Lines::weight_line(line, taps, 1);
        for (int i = 0; i < kWeights; i++) half[i * 3 + column] = line[i];
      }
      for (int i = 0; i < kWeights; i++) {
        Vec line[kWeights];
        Lines::weight_line(line, half + i * 3, 1);
        for (int j = 0; j < kWeights; j++) store(dst + (i * kWeights + j) * w.stride, line[j]);
      }
    }
}

template <int kStride, int kOut>
constexpr WinogradKernels kWinograd = {kStride,
                                       kOut,
                                       Winograd<kStride, kOut>::kIn,
                                       Winograd<kStride, kOut>::kWeights,
                                       winograd_input<kStride, kOut>,
                                       winograd_output<kStride, kOut>,
                                       winograd_weight<kStride, kOut>};

}  // namespace
}  // namespace residual::cpu
