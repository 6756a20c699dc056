// How the values that a reduced convolution reads and writes are kept, and what becomes of its sums.
#pragma once

#include <vector>

#include "cpu/convolution.h"
#include "cpu/dot_kernels.h"

namespace residual::cpu {

// The bytes that an image consists of, and what they stand for: number = (byte / 255 - mean) / std.
struct ByteInput {
  const std::vector<float>* mean = nullptr;  // [C]; null: the source is not an image's bytes
  const std::vector<float>* std = nullptr;
};

struct DotNumbers {
  core::Value src, dst;
  const core::Value* residual = nullptr;  // null: none
  ByteInput bytes;

  int src_bytes() const { return static_cast<int>(core::row_of(src.precision).bytes); }  // of a number
};

// What padding reads: the bytes of a pixel. Empty: zeros.
std::vector<uint8_t> padding_pixel(const DotNumbers& numbers);

// `dst` and `residual` are those of Convolution::run().
DotOutput dot_output(const ConvGeometry& geometry, const DotNumbers& numbers, void* dst,
                     const void* residual);

}  // namespace residual::cpu
