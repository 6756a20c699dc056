// A value of a plan: its shape, and the precision its numbers are kept in.
#pragma once

#include <cstddef>
#include <cstdint>

namespace residual::core {

constexpr int kMaxExtent = 1 << 20;  // of any height, width or channel count

// One image's worth of a value; in memory [N,height,width,channels].
struct Shape {
  int height = 0;
  int width = 0;
  int channels = 0;

  size_t elements() const { return size_t(height) * width * channels; }
  bool operator==(const Shape& o) const {
    return height == o.height && width == o.width && channels == o.channels;
  }
};

// How numbers are kept, the same for every backend. lib/model/value.ts is its twin; a test compares them.
enum class Precision { kFp32, kBf16, kFp16, kInt8, kUint8 };

struct PrecisionRow {
  const char* name;
  size_t bytes;  // of a number
  bool scaled;   // a number stands for that many times the value's scale
};
constexpr PrecisionRow kPrecisions[] = {
    {"fp32", 4, false}, {"bf16", 2, false}, {"fp16", 2, false}, {"int8", 1, true}, {"uint8", 1, true}};
constexpr int kPrecisionCount = sizeof(kPrecisions) / sizeof(kPrecisions[0]);

constexpr const PrecisionRow& row_of(Precision precision) { return kPrecisions[int(precision)]; }

struct Value : Shape {
  Precision precision = Precision::kFp32;
  float scale = 1;  // of a scaled precision; 1 for all others

  // Of one image.
  size_t bytes() const { return elements() * row_of(precision).bytes; }
};

}  // namespace residual::core
