// How are the kernels computed? Included once per instruction set by a file that defines VECTOR_BYTES,
// TILE_VECTORS, KERNELS and KERNELS_NAME, compiled with that set's flags. GCC's and Clang's vector types make
// one text serve all.
//
// Everything is in an unnamed namespace and no header with inline functions is used: otherwise the linker
// could keep one AVX-512 copy of a shared inline function for the whole program.

#include "cpu/kernels.h"

namespace residual::cpu {
namespace {

typedef float Vec __attribute__((vector_size(VECTOR_BYTES)));
constexpr int kLanes = VECTOR_BYTES / sizeof(float);
constexpr int kVectorsPerLine = 64 / VECTOR_BYTES;  // of the cache

inline Vec load(const float* p) {
  Vec v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
inline void store(float* p, Vec v) { __builtin_memcpy(p, &v, sizeof v); }
inline Vec splat(float x) { return x - Vec{}; }
// Written so that NaN stays NaN when `a` is, as PyTorch has it.
inline Vec max(Vec a, Vec b) { return b > a ? b : a; }
inline float relu(float x) { return x < 0 ? 0 : x; }

// Sums in registers: kRows x kVectors accumulators, per channel kVectors loads of weights and kRows
// broadcasts.
template <int kRows, int kVectors>
void conv_tile(const ConvTile& t) {
  // What the tile ends with is fetched while it is summed up.
  if (t.columns == kVectors * kLanes) {
    for (int r = 0; r < kRows; r++)
      for (int v = 0; v < kVectors; v += kVectorsPerLine) {
        __builtin_prefetch(t.dst + r * t.dst_stride + v * kLanes, /*write=*/1);
        if (t.residual) __builtin_prefetch(t.residual + r * t.dst_stride + v * kLanes);
      }
  }

  Vec acc[kRows][kVectors];
  if (t.bias) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; v++) {
      const Vec bias = load(t.bias + v * kLanes);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; r++) acc[r][v] = bias;
    }
  } else if (t.columns == kVectors * kLanes) {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; r++)
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; v++) acc[r][v] = load(t.dst + r * t.dst_stride + v * kLanes);
  } else {
    float partial[kVectors * kLanes] = {};
#pragma GCC unroll 8
    for (int r = 0; r < kRows; r++) {
      __builtin_memcpy(partial, t.dst + r * t.dst_stride, t.columns * sizeof(float));
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; v++) acc[r][v] = load(partial + v * kLanes);
    }
  }

  const float* weight = t.weight;
  for (int tap = 0; tap < t.taps; tap++) {
    const float* source[kRows];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; r++) source[r] = t.sources[tap * t.source_stride + r] + t.source_offset;
    for (int c = 0; c < t.length; c++) {
      Vec w[kVectors];
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; v++) w[v] = load(weight + v * kLanes);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; r++) {
        const Vec x = splat(source[r][c]);
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; v++) acc[r][v] += x * w[v];
      }
      weight += kVectors * kLanes;
    }
  }

  if (t.columns == kVectors * kLanes) {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; r++) {
      float* dst = t.dst + r * t.dst_stride;
      const float* residual = t.residual ? t.residual + r * t.dst_stride : nullptr;
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; v++) {
        Vec y = acc[r][v];
        if (residual) y += load(residual + v * kLanes);
        if (t.relu) y = max(y, Vec{});
        store(dst + v * kLanes, y);
      }
    }
  } else {
    float partial[kVectors * kLanes];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; r++) {
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; v++) store(partial + v * kLanes, acc[r][v]);
      for (int k = 0; k < t.columns; k++) {
        float y = partial[k];
        if (t.residual) y += t.residual[r * t.dst_stride + k];
        t.dst[r * t.dst_stride + k] = t.relu ? relu(y) : y;
      }
    }
  }
}

void depthwise(float* dst, const float* const* sources, const float* weight, const float* bias,
               const float* residual, int taps, int channels, bool with_relu) {
  int c = 0;
  for (; c + kLanes <= channels; c += kLanes) {
    Vec y = load(bias + c);
    for (int tap = 0; tap < taps; tap++)
      y += load(sources[tap] + c) * load(weight + size_t(tap) * channels + c);
    if (residual) y += load(residual + c);
    store(dst + c, with_relu ? max(y, Vec{}) : y);
  }
  for (; c < channels; c++) {
    float y = bias[c];
    for (int tap = 0; tap < taps; tap++) y += sources[tap][c] * weight[size_t(tap) * channels + c];
    if (residual) y += residual[c];
    dst[c] = with_relu ? relu(y) : y;
  }
}

// One dimension of F(4,3)'s input transform: to = B^T from, with from[i] `step` apart.
inline void winograd_input_line(Vec* to, const Vec* from, int step) {
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

void winograd_input(float* dst, size_t stride, const float* const* sources, int channels) {
  for (int c = 0; c < channels; c += kLanes) {
    Vec patch[36], half[36];
    for (int i = 0; i < 36; i++) patch[i] = load(sources[i] + c);
    for (int column = 0; column < 6; column++) winograd_input_line(half + column, patch + column, 6);
    for (int row = 0; row < 6; row++) winograd_input_line(patch + 6 * row, half + 6 * row, 1);
    for (int i = 0; i < 36; i++) store(dst + i * stride + c, patch[i]);
  }
}

// One dimension of F(4,3)'s output transform: to = A^T from.
inline void winograd_output_line(Vec* to, int to_step, const Vec* from, int from_step) {
  const Vec m0 = from[0], m1 = from[from_step], m2 = from[2 * from_step], m3 = from[3 * from_step],
            m4 = from[4 * from_step], m5 = from[5 * from_step];
  const Vec sum = m1 + m2, difference = m1 - m2, sum2 = m3 + m4, difference2 = m3 - m4;
  to[0] = m0 + sum + sum2;
  to[to_step] = difference + 2.0f * difference2;
  to[2 * to_step] = sum + 4.0f * sum2;
  to[3 * to_step] = difference + 8.0f * difference2 + m5;
}

void winograd_output(const WinogradOutput& o) {
  for (int c = 0; c < o.channels; c += kLanes) {
    Vec products[36], half[24], patch[16];
    for (int i = 0; i < 36; i++) products[i] = load(o.products + i * o.stride + c);
    for (int column = 0; column < 6; column++) winograd_output_line(half + column, 6, products + column, 6);
    for (int row = 0; row < 4; row++) winograd_output_line(patch + 4 * row, 1, half + 6 * row, 1);
    const Vec bias = load(o.bias + c);
    for (int row = 0; row < o.rows; row++)
      for (int column = 0; column < o.columns; column++) {
        const size_t at = row * o.row_stride + column * o.pixel_stride + c;
        Vec y = patch[4 * row + column] + bias;
        if (o.residual) y += load(o.residual + at);
        store(o.dst + at, o.relu ? max(y, Vec{}) : y);
      }
  }
}

void maximum(float* dst, const float* const* sources, int taps, int channels) {
  int c = 0;
  for (; c + kLanes <= channels; c += kLanes) {
    Vec y = load(sources[0] + c);
    for (int tap = 1; tap < taps; tap++) y = max(y, load(sources[tap] + c));
    store(dst + c, y);
  }
  for (; c < channels; c++) {
    float y = sources[0][c];
    for (int tap = 1; tap < taps; tap++) y = sources[tap][c] > y ? sources[tap][c] : y;
    dst[c] = y;
  }
}

void mean(float* dst, const float* src, int pixels, int channels) {
  const float scale = 1.0f / pixels;
  int c = 0;
  for (; c + kLanes <= channels; c += kLanes) {
    Vec y = {};
    for (int p = 0; p < pixels; p++) y += load(src + size_t(p) * channels + c);
    store(dst + c, y * scale);
  }
  for (; c < channels; c++) {
    float y = 0;
    for (int p = 0; p < pixels; p++) y += src[size_t(p) * channels + c];
    dst[c] = y * scale;
  }
}

void normalize(float* dst, const uint8_t* src, const float* scale, const float* shift, size_t pixels,
               int channels) {
  for (size_t p = 0; p < pixels; p++)
    for (int c = 0; c < channels; c++) dst[p * channels + c] = src[p * channels + c] * scale[c] + shift[c];
}

float multiply_adds(size_t rounds) {
  Vec acc[kPeakChains];
  for (int i = 0; i < kPeakChains; i++) acc[i] = splat(1.0f + i);
  const Vec factor = splat(0.5f), term = splat(0.25f);  // every sum tends to 0.5
  for (size_t round = 0; round < rounds; round++) {
#pragma GCC unroll 12
    for (int i = 0; i < kPeakChains; i++) acc[i] = acc[i] * factor + term;
  }
  Vec sum = {};
  for (int i = 0; i < kPeakChains; i++) sum += acc[i];
  float total = 0;
  for (int lane = 0; lane < kLanes; lane++) total += sum[lane];
  return total;
}

}  // namespace

#define TILE_ROW(rows) \
  { conv_tile<rows, 1>, conv_tile<rows, 2>, conv_tile<rows, 3>, conv_tile<rows, 4> }
extern const Kernels KERNELS = {
    KERNELS_NAME,
    kLanes,
    TILE_VECTORS,
    {TILE_ROW(1), TILE_ROW(2), TILE_ROW(3), TILE_ROW(4), TILE_ROW(5), TILE_ROW(6)},
    depthwise,
    winograd_input,
    winograd_output,
    maximum,
    mean,
    normalize,
    multiply_adds,
};
#undef TILE_ROW

}  // namespace residual::cpu
