// What the CPU can do to rows of int8 or bf16 numbers: one table of functions per instruction set and type.
// Sums of products are int32 or float32 respectively; finishing them (scale, residual, ReLU, rounding) is
// part of a kernel, so that sums never leave the first-level cache.
//
// The numbers summed are counted in dwords: four int8 or two bf16. dot_conv.h arranges the memory.
#pragma once

#include <cstddef>
#include <cstdint>

namespace residual::cpu {

constexpr int kPanelColumns = 16;  // output channels of a panel of packed weights
constexpr int kPanelRow = 64;      // bytes: a dword of each of its output channels
constexpr int kMostPanels = 4;     // that a kernel sums at once
constexpr int kMostDotRows = 32;   // of a block

// How a number is kept in memory.
enum class DotType : uint8_t { kInt8, kUint8, kBf16, kFp32 };

// Consecutive rows of a block whose results are consecutive pixels. Rows between two runs are padding, whose
// sums are dropped.
struct DotRun {
  int row;  // of the block
  int rows;
  size_t pixel;  // of the result
};

// Up to kMostDotRows rows that lie `DotTask::row_stride` apart.
struct DotBlock {
  const std::byte* source;  // of its first row, at tap offset 0
  int rows;
  int first_run, runs;  // in DotTask::runs
};

// What becomes of the sums. For int8, with s the sum: v = s * scale[k], then v + residual * residual_scale if
// there is one, at least 0 for `relu`, rounded to the nearest, even if there are two, and clamped to the
// type. Each step is rounded as float32: the result is the same for every instruction set. For bf16 there are
// no scales.
struct DotOutput {
  void* dst;  // [pixels][channels]
  DotType type;
  size_t channels;       // of a pixel
  const void* residual;  // like dst, or null
  DotType residual_type;
  float residual_scale;
  bool relu;
  float least, most;  // int8: of the type
};

// How large sums of products of kBoundedBytes bytes of a row can get, for kernels that keep some in 16 bits:
// what the weights of a panel contribute. Sums are of two neighbouring bytes, and of two such pairs four
// bytes apart. The largest of all columns counts, and only weights of one sign: partial sums are not larger
// either.
constexpr int kBoundedBytes = 64;
struct Bounds {
  int8_t pairs[kBoundedBytes / 8][2][2];  // [8 bytes][half of a dword][dword], half of the sum, rounded up
  int8_t fours[kBoundedBytes / 8][2][2];  // [8 bytes][half of a dword], a quarter of it, rounded up; then 0
};

// Some rows times some panels.
struct DotTask {
  const DotBlock* blocks;
  int block_count;
  const DotRun* runs;
  size_t row_stride;      // bytes
  const ptrdiff_t* taps;  // [tap_count], bytes added to a block's source
  int tap_count;
  size_t source_offset;     // bytes, added to every tap
  int depth;                // bytes of a tap, a multiple of DotKernels::unit
  bool is_signed;           // of int8 sources: int8 rather than uint8
  const std::byte* weight;  // [panels][tap_count][depth / 4] rows of kPanelRow bytes
  const Bounds* bounds;     // [panels][tap_count][depth / kBoundedBytes], if DotKernels::has_bounds
  const void* start;        // [panels][kPanelColumns] int32 or float: what sums start from
  const float* scale;       // [panels][kPanelColumns]; int8 only
  int channel;              // of the result, of the first panel's first column
  int columns;              // of the result; the last panel may have some that are not used
  DotOutput output;

  int panels() const { return (columns + kPanelColumns - 1) / kPanelColumns; }
  size_t row_bytes() const { return size_t(tap_count) * depth; }
  size_t panel_bytes() const { return row_bytes() / 4 * kPanelRow; }
  int tap_bounds() const { return (depth + kBoundedBytes - 1) / kBoundedBytes; }
};

struct DotWinogradKernels;  // dot_winograd_kernels.h

// Bytes of copied rows that stay in a second-level cache together with the weights of a few panels.
constexpr size_t kScratchBytes = size_t(256) << 10;

// Whether weights are so many that as many rows as possible should share what is read of them: half of a
// second-level cache.
constexpr bool are_many_weights(size_t bytes) { return bytes > size_t(1) << 20; }

struct DotKernels {
  const char* name;
  int unit;        // what `depth` is a multiple of: bytes
  int block_rows;  // rows of a block that keep the registers busy, at most kMostDotRows
  int tile_rows;   // of a block that are read together, whether they are rows of the block or beyond
  void (*run)(const DotTask& task);
  const DotWinogradKernels* winograd = nullptr;  // null where it has nothing to gain
  bool has_bounds = false;                       // reads DotTask::bounds
  size_t most_scratch = kScratchBytes;           // bytes of copied rows, where there are many weights
};

#if defined(__x86_64__)
extern const DotKernels kAmxInt8Kernels;
extern const DotKernels kAmxBf16Kernels;
extern const DotKernels kVnniKernels;
extern const DotKernels kAvx512Bf16Kernels;
extern const DotKernels kAvxVnniKernels;
extern const DotKernels kAvx2Int8Kernels;
#elif defined(__aarch64__)
extern const DotKernels kI8mmKernels;
extern const DotKernels kSdotKernels;
extern const DotKernels kBfmmlaKernels;
#endif
extern const DotKernels kBaselineInt8Kernels;  // SSE2 on x86-64, NEON on AArch64

}  // namespace residual::cpu
