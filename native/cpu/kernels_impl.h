// The kernels themselves. Included once per instruction set by a file that defines VECTOR_BYTES,
// TILE_VECTORS, KERNELS and KERNELS_NAME and is compiled with that set's flags. With GCC's and Clang's vector
// types, one source serves all.
//
// Everything is in an unnamed namespace and no header with inline functions is used: otherwise the linker
// could keep one AVX-512 copy of a shared inline function for the whole program.

#include "cpu/kernels.h"

namespace residual::cpu {
namespace {

typedef float Vec __attribute__((vector_size(VECTOR_BYTES)));
constexpr int kLanes = VECTOR_BYTES / sizeof(float);
constexpr int kVectorsPerLine = 64 / VECTOR_BYTES;  // of the cache
typedef int Lanes __attribute__((vector_size(VECTOR_BYTES)));

inline Vec load(const float* p) {
  Vec v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
inline void store(float* p, Vec v) { __builtin_memcpy(p, &v, sizeof v); }
inline Vec splat(float x) { return x - Vec{}; }
// b > a ? b : a, so that NaN in `a` stays NaN, as in PyTorch. GCC would make a comparison and a blend of that
// expression.
inline Vec max(Vec a, Vec b) {
#if defined(__AVX__)
  Vec result;
  __asm__("vmaxps %2, %1, %0" : "=v"(result) : "v"(b), "v"(a));
  return result;
#elif defined(__SSE__)
  __asm__("maxps %1, %0" : "+x"(b) : "x"(a));
  return b;
#else
  return b > a ? b : a;
#endif
}
// NaN if either is, as in PyTorch.
inline Vec max_or_nan(Vec a, Vec b) {
  const Vec larger = max(a, b);
  return b != b ? b : larger;
}
inline float max_or_nan(float a, float b) { return b > a || b != b ? b : a; }
inline float relu(float x) { return x < 0 ? 0 : x; }

// sum += a * b, in the register that holds `sum`. Left to itself, GCC sees several unrolled steps at once,
// moves sums between registers and spills some to memory.
inline void multiply_add(Vec& sum, Vec a, Vec b) {
#if defined(__FMA__)
  __asm__("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
#else
  sum += a * b;
#endif
}

// kRows x kVectors sums in registers.
template <int kRows, int kVectors>
struct Sums {
  static constexpr int kWidth = kVectors * kLanes;
  Vec acc[kRows][kVectors];

  void begin_with_bias(const float* bias) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; v++) {
      const Vec value = load(bias + v * kLanes);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; r++) acc[r][v] = value;
    }
  }

  // Continues the sums in dst.
  void load_from(const float* dst, size_t stride, int columns) {
    float partial[kWidth] = {};
#pragma GCC unroll 8
    for (int r = 0; r < kRows; r++) {
      const float* row = dst + r * stride;
      if (columns < kWidth) {
        __builtin_memcpy(partial, row, columns * sizeof(float));
        row = partial;
      }
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; v++) acc[r][v] = load(row + v * kLanes);
    }
  }

  // Adds one channel's products: kVectors loads of weights and kRows broadcasts.
  void add(const float* const* source, int c, const float* weight) {
    Vec w[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; v++) {
      w[v] = load(weight + v * kLanes);
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; r++) {
      const Vec x = splat(source[r][c]);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; v++) {
        multiply_add(acc[r][v], x, w[v]);
      }
    }
  }

  void store_to(float* dst, const float* residual, size_t stride, int columns, bool with_relu) const {
    if (columns == kWidth) {
#pragma GCC unroll 8
      for (int r = 0; r < kRows; r++)
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; v++) {
          Vec y = acc[r][v];
          if (residual) y += load(residual + r * stride + v * kLanes);
          if (with_relu) y = max(y, Vec{});
          store(dst + r * stride + v * kLanes, y);
        }
      return;
    }
    float partial[kWidth];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; r++) {
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; v++) store(partial + v * kLanes, acc[r][v]);
      for (int k = 0; k < columns; k++) {
        const float y = residual ? partial[k] + residual[r * stride + k] : partial[k];
        dst[r * stride + k] = with_relu ? relu(y) : y;
      }
    }
  }
};

template <int kRows, int kVectors>
void conv_tile(const ConvTile& t) {
  constexpr int kWidth = kVectors * kLanes;
  const float* weight = t.weight;
  const float* prefetch = t.prefetch;
  for (int column = 0; column < t.columns; column += kWidth) {
    const int columns = t.columns - column < kWidth ? t.columns - column : kWidth;
    float* const dst = t.dst + column;
    const float* const residual = t.residual ? t.residual + column : nullptr;
    // Prefetches what the panel reads and writes at its end.
    if (columns == kWidth) {
      for (int r = 0; r < kRows; r++)
        for (int v = 0; v < kVectors; v += kVectorsPerLine) {
          __builtin_prefetch(dst + r * t.dst_stride + v * kLanes, /*write=*/1);
          if (residual) __builtin_prefetch(residual + r * t.dst_stride + v * kLanes);
        }
    }
    Sums<kRows, kVectors> sums;
    if (t.bias)
      sums.begin_with_bias(t.bias + column);
    else
      sums.load_from(dst, t.dst_stride, columns);

    for (int tap = 0; tap < t.taps; tap++) {
      const float* source[kRows];
#pragma GCC unroll 8
      for (int r = 0; r < kRows; r++) source[r] = t.sources[tap * t.source_stride + r] + t.source_offset;
      int c = 0;
      for (; c + kUnroll <= t.length; c += kUnroll) {
        for (int ahead = 0; ahead < t.prefetch_step; ahead += kLineFloats)
          __builtin_prefetch(prefetch + ahead, /*write=*/0, /*locality=*/2);
        prefetch += t.prefetch_step;
#pragma GCC unroll 8
        for (int i = 0; i < kUnroll; i++) sums.add(source, c + i, weight + i * kWidth);
        weight += kUnroll * kWidth;
      }
      for (; c < t.length; c++, weight += kWidth) sums.add(source, c, weight);
    }
    sums.store_to(dst, residual, t.dst_stride, columns, t.relu);
  }
}

#if defined(__AVX2__)
// Lane i is lane from[i] of `x`.
inline Vec permuted(Vec x, Lanes from) {
  Vec result;
  __asm__("vpermps %2, %1, %0" : "=v"(result) : "v"(from), "v"(x));
  return result;
}

template <int kRows>
void grouped_tile(const ConvTile& t) {
  Sums<kRows, 1> sums;
  if (t.bias)
    sums.begin_with_bias(t.bias);
  else
    sums.load_from(t.dst, t.dst_stride, t.columns);
  const float* weight = t.weight;
  for (int tap = 0; tap < t.taps; tap++) {
    Vec inputs[kRows];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; r++) inputs[r] = load(t.sources[tap * t.source_stride + r] + t.source_offset);
    for (int c = 0; c < t.length; c++, weight += kLanes) {
      const Vec w = load(weight);
      Lanes from;
      __builtin_memcpy(&from, t.from + c * kLanes, sizeof from);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; r++) multiply_add(sums.acc[r][0], permuted(inputs[r], from), w);
    }
  }
  sums.store_to(t.dst, t.residual, t.dst_stride, t.columns, t.relu);
}
#define GROUPED_TILES \
  { grouped_tile<1>, grouped_tile<2>, grouped_tile<3>, grouped_tile<4>, grouped_tile<5>, grouped_tile<6> }
#else
#define GROUPED_TILES \
  {}
#endif

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

void maximum(float* dst, const float* const* sources, int taps, int channels) {
  int c = 0;
  for (; c + kLanes <= channels; c += kLanes) {
    Vec y = load(sources[0] + c);
    for (int tap = 1; tap < taps; tap++) y = max_or_nan(y, load(sources[tap] + c));
    store(dst + c, y);
  }
  for (; c < channels; c++) {
    float y = sources[0][c];
    for (int tap = 1; tap < taps; tap++) y = max_or_nan(y, sources[tap][c]);
    dst[c] = y;
  }
}

template <typename Byte>
void maximum_of_bytes(Byte* dst, const Byte* const* sources, int taps, int channels) {
  typedef Byte Bytes __attribute__((vector_size(VECTOR_BYTES)));
  const auto load_bytes = [](const Byte* p) {
    Bytes bytes;
    __builtin_memcpy(&bytes, p, sizeof bytes);
    return bytes;
  };
  int c = 0;
  for (; c + VECTOR_BYTES <= channels; c += VECTOR_BYTES) {
    Bytes y = load_bytes(sources[0] + c);
    for (int tap = 1; tap < taps; tap++) {
      const Bytes x = load_bytes(sources[tap] + c);
      y = x > y ? x : y;
    }
    __builtin_memcpy(dst + c, &y, sizeof y);
  }
  for (; c < channels; c++) {
    Byte y = sources[0][c];
    for (int tap = 1; tap < taps; tap++) y = sources[tap][c] > y ? sources[tap][c] : y;
    dst[c] = y;
  }
}

// bf16 numbers in the order of integers, NaN of either sign above all others: negative ones with all bits but
// the sign inverted, and everything moved so that negative NaN wraps around.
typedef int16_t Shorts __attribute__((vector_size(VECTOR_BYTES)));
typedef uint16_t UnsignedShorts __attribute__((vector_size(VECTOR_BYTES)));
constexpr int kNegativeNans = 0x7f;

inline Shorts to_ordered(Shorts x) {
  return (Shorts)((UnsignedShorts)(x ^ (x >> 15 & 0x7fff)) - kNegativeNans);
}
inline Shorts from_ordered(Shorts y) {
  const Shorts x = (Shorts)((UnsignedShorts)y + kNegativeNans);
  return x ^ (x >> 15 & 0x7fff);
}
inline int16_t to_ordered(int16_t x) { return int16_t((x ^ (x >> 15 & 0x7fff)) - kNegativeNans); }
inline int16_t from_ordered(int16_t y) {
  const int16_t x = int16_t(y + kNegativeNans);
  return int16_t(x ^ (x >> 15 & 0x7fff));
}

void maximum_bf16(uint16_t* dst, const uint16_t* const* sources, int taps, int channels) {
  constexpr int kWidth = VECTOR_BYTES / sizeof(int16_t);
  const auto load_ordered = [](const uint16_t* p) {
    Shorts x;
    __builtin_memcpy(&x, p, sizeof x);
    return to_ordered(x);
  };
  int c = 0;
  for (; c + kWidth <= channels; c += kWidth) {
    Shorts y = load_ordered(sources[0] + c);
    for (int tap = 1; tap < taps; tap++) {
      const Shorts x = load_ordered(sources[tap] + c);
      y = x > y ? x : y;
    }
    y = from_ordered(y);
    __builtin_memcpy(dst + c, &y, sizeof y);
  }
  for (; c < channels; c++) {
    int16_t y = to_ordered(int16_t(sources[0][c]));
    for (int tap = 1; tap < taps; tap++) {
      const int16_t x = to_ordered(int16_t(sources[tap][c]));
      y = x > y ? x : y;
    }
    dst[c] = uint16_t(from_ordered(y));
  }
}

// A float32 holds the sum of this many pixels well enough.
constexpr int kMeanBlock = 64;

inline void sum_of(Vec* sum, const float* src, int pixels, int channels) {
  *sum = Vec{};
  for (int p = 0; p < pixels; p++) *sum += load(src + size_t(p) * channels);
}
inline void sum_of(float* sum, const float* src, int pixels, int channels) {
  *sum = 0;
  for (int p = 0; p < pixels; p++) *sum += src[size_t(p) * channels];
}

// The means of neighbouring channels, as many as T has floats.
template <typename T>
void mean_of(float* dst, const float* src, int pixels, int channels) {
  constexpr int kWidth = sizeof(T) / sizeof(float);
  T sum;
  if (pixels <= kMeanBlock) {  // the code below would give the same result
    sum_of(&sum, src, pixels, channels);
    sum /= float(pixels);
    __builtin_memcpy(dst, &sum, sizeof sum);
    return;
  }
  double sums[kWidth] = {};
  for (int begin = 0; begin < pixels; begin += kMeanBlock) {
    const int count = pixels - begin < kMeanBlock ? pixels - begin : kMeanBlock;
    sum_of(&sum, src + size_t(begin) * channels, count, channels);
    float lanes[kWidth];
    __builtin_memcpy(lanes, &sum, sizeof sum);
    for (int i = 0; i < kWidth; i++) sums[i] += lanes[i];
  }
  for (int i = 0; i < kWidth; i++) dst[i] = static_cast<float>(sums[i] / pixels);
}

void mean(float* dst, const float* src, int pixels, int channels) {
  int c = 0;
  for (; c + kLanes <= channels; c += kLanes) mean_of<Vec>(dst + c, src + c, pixels, channels);
  for (; c < channels; c++) mean_of<float>(dst + c, src + c, pixels, channels);
}

void normalize(float* dst, const uint8_t* src, const float* scale, const float* shift, size_t pixels,
               int channels) {
  for (size_t p = 0; p < pixels; p++)
    for (int c = 0; c < channels; c++) dst[p * channels + c] = src[p * channels + c] * scale[c] + shift[c];
}

// Lane i is lane from[i] of `a`, or of `b` from kLanes on.
inline Vec shuffle(Vec a, Vec b, Lanes from) {
#if defined(__clang__)  // has no such function, but turns this into a shuffle
  Vec result;
  for (int i = 0; i < kLanes; i++) result[i] = from[i] < kLanes ? a[from[i]] : b[from[i] - kLanes];
  return result;
#else
  return __builtin_shuffle(a, b, from);
#endif
}

// Transposes by blocks: swaps kSize x kSize blocks across the diagonal in pairs, then does the same inside
// each.
template <int kSize>
inline void turn_square(Vec* lines) {
  Lanes above, below;
  for (int i = 0; i < kLanes; i++) {
    const bool left = i / kSize % 2 == 0;
    above[i] = left ? i : kLanes + i - kSize;
    below[i] = left ? i + kSize : kLanes + i;
  }
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; i++) {
    if (i & kSize) continue;
    const Vec a = lines[i], b = lines[i + kSize];
    lines[i] = shuffle(a, b, above);
    lines[i + kSize] = shuffle(a, b, below);
  }
  if constexpr (kSize > 1) turn_square<kSize / 2>(lines);
}

void transpose(float* dst, size_t dst_stride, const float* src, size_t src_stride, int rows, int columns) {
  const int whole_rows = rows / kLanes * kLanes, whole_columns = columns / kLanes * kLanes;
  for (int c = 0; c < whole_columns; c += kLanes)
    for (int r = 0; r < whole_rows; r += kLanes) {
      Vec lines[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; i++) lines[i] = load(src + (r + i) * src_stride + c);
      turn_square<kLanes / 2>(lines);
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; i++) store(dst + (c + i) * dst_stride + r, lines[i]);
    }
  for (int c = 0; c < columns; c++)
    for (int r = c < whole_columns ? whole_rows : 0; r < rows; r++)
      dst[c * dst_stride + r] = src[r * src_stride + c];
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
}  // namespace residual::cpu

#include "cpu/winograd_kernels_impl.h"

namespace residual::cpu {

namespace {

// Null for tiles too wide for the registers.
template <int kRows, int kVectors>
constexpr void (*tile_or_null())(const ConvTile&) {
  if constexpr (kVectors <= TILE_VECTORS)
    return conv_tile<kRows, kVectors>;
  else
    return nullptr;
}

}  // namespace

#define TILE_ROW(rows) \
  { tile_or_null<rows, 1>(), tile_or_null<rows, 2>(), tile_or_null<rows, 3>(), tile_or_null<rows, 4>() }
extern const Kernels KERNELS = {
    KERNELS_NAME,
    kLanes,
    TILE_VECTORS,
    {TILE_ROW(1), TILE_ROW(2), TILE_ROW(3), TILE_ROW(4), TILE_ROW(5), TILE_ROW(6)},
    GROUPED_TILES,
    depthwise,
    {kWinograd<1, 2>, kWinograd<1, 4>, kWinograd<2, 2>, kWinograd<2, 4>},
    maximum,
    maximum_of_bytes<int8_t>,
    maximum_of_bytes<uint8_t>,
    maximum_bf16,
    mean,
    normalize,
    transpose,
    multiply_adds,
};
#undef TILE_ROW
#undef GROUPED_TILES

}  // namespace residual::cpu
