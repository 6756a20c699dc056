// How are the transforms of Winograd's convolutions computed? Part of kernels_impl.h, with its vectors.
//
// F(m,3) computes m neighbouring outputs from m + 2 products: output = A^T ((G kernel) * (B^T input)), in
// both directions of the picture. The matrices are those of Lavin and Gray, https://arxiv.org/abs/1509.09308.
#pragma once

namespace residual::cpu {
namespace {

typedef double Doubles __attribute__((vector_size(VECTOR_BYTES)));
typedef float HalfVec __attribute__((vector_size(VECTOR_BYTES / 2)));

template <int kOut>
struct Winograd;

template <>
struct Winograd<2> {
  static constexpr double kG[4][3] = {{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}};

  // to = B^T from, with from[i] and to[i] `step` apart.
  static void input_line(Vec* to, const Vec* from, int step) {
    const Vec d0 = from[0], d1 = from[step], d2 = from[2 * step], d3 = from[3 * step];
    to[0] = d0 - d2;
    to[step] = d1 + d2;
    to[2 * step] = d2 - d1;
    to[3 * step] = d1 - d3;
  }

  // to = A^T from
  static void output_line(Vec* to, int to_step, const Vec* from, int from_step) {
    const Vec m0 = from[0], m1 = from[from_step], m2 = from[2 * from_step], m3 = from[3 * from_step];
    to[0] = m0 + m1 + m2;
    to[to_step] = m1 - m2 - m3;
  }
};

template <>
struct Winograd<4> {
  static constexpr double kG[6][3] = {{1. / 4, 0, 0},
                                      {-1. / 6, -1. / 6, -1. / 6},
                                      {-1. / 6, 1. / 6, -1. / 6},
                                      {1. / 24, 1. / 12, 1. / 6},
                                      {1. / 24, -1. / 12, 1. / 6},
                                      {0, 0, 1}};

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

  static void output_line(Vec* to, int to_step, const Vec* from, int from_step) {
    const Vec m0 = from[0], m1 = from[from_step], m2 = from[2 * from_step], m3 = from[3 * from_step],
              m4 = from[4 * from_step], m5 = from[5 * from_step];
    const Vec sum = m1 + m2, difference = m1 - m2, sum2 = m3 + m4, difference2 = m3 - m4;
    to[0] = m0 + sum + sum2;
    to[to_step] = difference + 2.0f * difference2;
    to[2 * to_step] = sum + 4.0f * sum2;
    to[3 * to_step] = difference + 8.0f * difference2 + m5;
  }
};

template <int kOut>
void winograd_input(float* dst, size_t stride, const float* const* sources, int channels) {
  constexpr int kIn = kOut + 2;
  for (int c = 0; c < channels; c += kLanes) {
    Vec half[kIn * kIn];
    for (int column = 0; column < kIn; column++) {
      Vec patch[kIn];
      for (int row = 0; row < kIn; row++) patch[row] = load(sources[row * kIn + column] + c);
      Vec line[kIn];
      Winograd<kOut>::input_line(line, patch, 1);
      for (int row = 0; row < kIn; row++) half[row * kIn + column] = line[row];
    }
    for (int row = 0; row < kIn; row++) {
      Vec line[kIn];
      Winograd<kOut>::input_line(line, half + row * kIn, 1);
      for (int column = 0; column < kIn; column++)
        store(dst + (row * kIn + column) * stride + c, line[column]);
    }
  }
}

template <int kOut>
void winograd_output(const WinogradOutput& o) {
  constexpr int kIn = kOut + 2;
  for (int c = 0; c < o.channels; c += kLanes) {
    Vec half[kOut * kIn];
    for (int column = 0; column < kIn; column++) {
      Vec products[kIn];
      for (int row = 0; row < kIn; row++)
        products[row] = load(o.products + (row * kIn + column) * o.stride + c);
      Winograd<kOut>::output_line(half + column, kIn, products, 1);
    }
    const Vec bias = load(o.bias + c);
    for (int row = 0; row < o.rows; row++) {
      Vec line[kOut];
      Winograd<kOut>::output_line(line, 1, half + row * kIn, 1);
      for (int column = 0; column < o.columns; column++) {
        const size_t at = row * o.row_stride + column * o.pixel_stride + c;
        Vec y = line[column] + bias;
        if (o.residual) y += load(o.residual + at);
        store(o.dst + at, o.relu ? max(y, Vec{}) : y);
      }
    }
  }
}

// G kernel G^T in double precision, rounded once.
template <int kOut>
void winograd_weight(const WinogradWeight& w) {
  constexpr int kIn = kOut + 2, kStep = kLanes / 2;
  for (int c = 0; c < w.channels; c += kStep) {
    Doubles kernel[9], half[kIn][3];
    for (int tap = 0; tap < 9; tap++) {
      HalfVec floats;
      __builtin_memcpy(&floats, w.kernel + tap * w.tap_stride + c, sizeof floats);
      kernel[tap] = __builtin_convertvector(floats, Doubles);
    }
    for (int i = 0; i < kIn; i++)
      for (int s = 0; s < 3; s++)
        half[i][s] = Winograd<kOut>::kG[i][0] * kernel[s] + Winograd<kOut>::kG[i][1] * kernel[3 + s] +
                     Winograd<kOut>::kG[i][2] * kernel[6 + s];
    for (int i = 0; i < kIn; i++)
      for (int j = 0; j < kIn; j++) {
        const HalfVec sums = __builtin_convertvector(Winograd<kOut>::kG[j][0] * half[i][0] +
                                                         Winograd<kOut>::kG[j][1] * half[i][1] +
                                                         Winograd<kOut>::kG[j][2] * half[i][2],
                                                     HalfVec);
        float* const to = w.dst + (i * kIn + j) * w.point_stride + c * w.channel_stride;
        for (int lane = 0; lane < kStep; lane++) to[lane * w.channel_stride] = sums[lane];
      }
  }
}

template <int kOut>
constexpr WinogradKernels kWinograd = {kOut,
                                       kOut + 2,
                                       (kOut + 2) * (kOut + 2),
                                       winograd_input<kOut>,
                                       winograd_output<kOut>,
                                       winograd_weight<kOut>};

}  // namespace
}  // namespace residual::cpu
