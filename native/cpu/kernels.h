// What the CPU can do to rows of floats: one table of functions per instruction set. isa.h chooses the table.
#pragma once

#include <cstddef>
#include <cstdint>

namespace residual::cpu {

constexpr int kMaxTileRows = 6;     // output pixels of one register tile
constexpr int kMaxTileVectors = 4;  // vectors of output channels of one register tile
constexpr int kLineFloats = 16;     // floats of a cache line
constexpr int kUnroll = 4;          // channels between two prefetches
constexpr int kPeakChains = 12;     // independent sums, enough to hide the latency of a multiply-add

// `rows` output pixels x `columns` output channels of a convolution as implicit GEMM, summed over `taps`
// kernel positions of `length` channels each. The channels are computed in panels of one register tile each,
// lanes x vectors wide; the last one may be partly unused.
struct ConvTile {
  const float* const* sources;  // [taps][source_stride]: where each pixel's input channels begin
  size_t source_stride;         // pointers per tap, >= rows
  size_t source_offset;         // floats added to every pointer (blocks of channels)
  int taps;
  int length;
  const float* weight;    // [panels][taps][length][lanes x vectors], packed
  const float* bias;      // [panels][lanes x vectors]; null: continue the sums in dst
  const float* residual;  // [rows][columns], rows `dst_stride` apart, or null
  float* dst;             // [rows][columns], rows `dst_stride` apart
  size_t dst_stride;      // floats
  int columns;            // channels to write
  bool relu;
  // grouped_tile: [length][lanes], the input channel each output channel takes
  const int32_t* from;
  // Memory needed next (prefetch.h), prefetched while the tile is summed: prefetch_step floats for every
  // kUnroll channels.
  const float* prefetch;
  int prefetch_step;
};

// One m x m patch of a convolution's output, computed from its transformed products (winograd_conv.h).
struct WinogradOutput {
  const float* products;  // [points] rows of [channels], `stride` apart
  size_t stride;          // floats
  const float* bias;      // [channels]
  const float* residual;  // like dst, or null
  float* dst;             // [rows][columns][channels], its rows row_stride apart and its pixels pixel_stride
  size_t row_stride, pixel_stride;
  int rows, columns;  // of the part of the patch inside the image, at most m
  int channels;       // a multiple of the vector's lanes
  bool relu;
};

// The 3x3 kernels between some input channels and some output channels (the columns).
struct WinogradWeight {
  float* dst;           // [weights * weights] rows of [channels][columns], `stride` apart
  size_t stride;        // floats
  const float* kernel;  // [channels][9][columns]
  int channels;
  int columns;  // a multiple of the vector's lanes
};

// The transforms of a 3x3 convolution of this stride that computes m x m outputs together, channel by
// channel. The outputs depend on in * in inputs and take as many products, called points.
struct WinogradKernels {
  int stride;
  int out;      // m
  int in;       // stride * (m - 1) + 3
  int weights;  // transformed weights in one direction: point i has weight min(i, weights - 1)

  int points() const { return in * in; }
  // The index of the transformed weight that a point's input is multiplied by.
  int weight_of(int point) const {
    const int row = point / in, column = point % in, last = weights - 1;
    return (row < last ? row : last) * weights + (column < last ? column : last);
  }

  // `channels` is a multiple of the vector's lanes.
  void (*input)(float* dst,                   // [points] rows of [channels], `stride` apart
                size_t stride,                // floats
                const float* const* sources,  // [points] pointers to [channels], row by row
                int channels);
  void (*output)(const WinogradOutput& output);
  void (*weight)(const WinogradWeight& weight);
};
constexpr int kMaxWinogradPoints = 81;
constexpr int kWinogradKinds = 4;

struct Kernels {
  const char* name;
  int lanes;         // floats per vector
  int tile_vectors;  // vectors per tile that keep the registers busy, <= kMaxTileVectors

  // conv_tile[rows - 1][vectors - 1], for up to tile_vectors
  void (*conv_tile[kMaxTileRows][kMaxTileVectors])(const ConvTile& tile);

  // grouped_tile[rows - 1], for one vector of output channels of several groups whose input channels are also
  // one vector, `length` per group. No group sees another's inputs, so infinity and NaN do not spread. Null
  // if the instruction set cannot permute lanes freely.
  void (*grouped_tile[kMaxTileRows])(const ConvTile& tile);

  // dst[c] = bias[c] + sum over taps of sources[tap][c] * weight[tap][c], then + residual, then relu.
  void (*depthwise)(float* dst,                   // [channels]
                    const float* const* sources,  // [taps][channels]
                    const float* weight,          // [taps][channels]
                    const float* bias,            // [channels]
                    const float* residual,        // [channels] or null
                    int taps, int channels, bool relu);

  WinogradKernels winograd[kWinogradKinds];

  // dst[c] = max over taps of sources[tap][c]; NaN if any of them is
  void (*maximum)(float* dst,                   // [channels]
                  const float* const* sources,  // [taps][channels]
                  int taps, int channels);

  // The same of other numbers; the last of bf16.
  void (*maximum_int8)(int8_t* dst, const int8_t* const* sources, int taps, int channels);
  void (*maximum_uint8)(uint8_t* dst, const uint8_t* const* sources, int taps, int channels);
  void (*maximum_bf16)(uint16_t* dst, const uint16_t* const* sources, int taps, int channels);

  // dst[c] = mean over pixels of src[pixel][c], bit for bit the same for every vector width; within 2e-6 of
  // the exact mean if all have one sign, however many there are
  void (*mean)(float* dst,        // [channels]
               const float* src,  // [pixels][channels]
               int pixels, int channels);

  // dst[p][c] = src[p][c] * scale[c] + shift[c]
  void (*normalize)(float* dst,          // [pixels][channels]
                    const uint8_t* src,  // [pixels][channels]
                    const float* scale,  // [channels]
                    const float* shift,  // [channels]
                    size_t pixels, int channels);

  // dst[c][r] = src[r][c]; strides are in floats.
  void (*transpose)(float* dst, size_t dst_stride, const float* src, size_t src_stride, int rows,
                    int columns);

  // Multiply-adds in registers as fast as the processor can do them: `rounds` times kPeakChains vectors.
  // Returns a value that depends on all of them.
  float (*multiply_adds)(size_t rounds);
};

extern const Kernels kBaselineKernels;  // SSE2 on x86-64, NEON on AArch64
#if defined(__x86_64__)
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;
#endif

}  // namespace residual::cpu
