#include "cpu/dot_numbers.h"

#include <algorithm>
#include <cmath>

namespace residual::cpu {
namespace {

constexpr float kMost = 127;  // of int8 results, up and down

DotType type_of(const core::Value& value) {
  switch (value.precision) {
    case core::Precision::kInt8:
      return DotType::kInt8;
    case core::Precision::kUint8:
      return DotType::kUint8;
    case core::Precision::kBf16:
      return DotType::kBf16;
    default:
      return DotType::kFp32;
  }
}

}  // namespace

// Of an image's bytes those nearest to the mean, which is 0 once it is normalised.
std::vector<uint8_t> padding_pixel(const DotNumbers& numbers) {
  std::vector<uint8_t> pixel;
  if (numbers.bytes.mean)
    for (const float mean : *numbers.bytes.mean)
      pixel.push_back(static_cast<uint8_t>(std::clamp(std::nearbyint(255.0 * mean), 0.0, 255.0)));
  return pixel;
}

DotOutput dot_output(const ConvGeometry& geometry, const DotNumbers& numbers, void* dst,
                     const void* residual) {
  DotOutput output = {};
  output.dst = dst;
  output.type = type_of(numbers.dst);
  output.channels = geometry.dst.channels;
  output.residual = residual;
  if (numbers.residual) {
    output.residual_type = type_of(*numbers.residual);
    output.residual_scale = static_cast<float>(double(numbers.residual->scale) / numbers.dst.scale);
  }
  output.relu = geometry.relu;
  output.least = geometry.relu || output.type == DotType::kUint8 ? 0 : -kMost;
  output.most = output.type == DotType::kUint8 ? 255 : kMost;
  return output;
}

}  // namespace residual::cpu
