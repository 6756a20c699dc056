#include "core/stored_weights.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "core/error.h"

namespace residual::core {
namespace {

float float_of_bits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

uint32_t bits_of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

constexpr uint32_t kExponent = 0x7f800000;  // of infinity and NaN alone: all ones

float to_float(float value) { return value; }
float to_float(double value) { return static_cast<float>(value); }

struct Half {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

// Exponent and fraction moved to where float32 has them give the value times 2^-112, subnormal ones included.
float to_float(Half half) {
  const int32_t magnitude = int32_t(half.bits & 0x7fff) << 13;  // signed: what SSE2 can compare
  const uint32_t finite = bits_of(float_of_bits(magnitude) * 0x1p112f);
  const uint32_t not_finite = magnitude | kExponent;
  const uint32_t sign = uint32_t(half.bits & 0x8000) << 16;
  return float_of_bits((magnitude < 0x0f800000 ? finite : not_finite) | sign);
}

float to_float(BFloat16 value) { return float_of_bits(uint32_t(value.bits) << 16); }

// How JavaScript would print it.
const char* name_of(float value) { return std::isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity"; }

// Inputs turned at a time: where there are enough, whole cache lines for each tap, and all in the first-level
// cache.
size_t block_inputs(const WeightShape& shape) {
  return std::min(shape.inputs, std::max(size_t(1), 64 / shape.taps) * 16);
}

// One output channel: [C,R*S] becomes [R*S,C]. `scaled` has room for block_inputs().
template <typename Stored>
void fold_channel(float* to, const Stored* from, const WeightShape& shape, size_t k, double scale,
                  float* scaled) {
  const size_t block = block_inputs(shape);
  for (size_t first = 0; first < shape.inputs; first += block) {
    const size_t inputs = std::min(block, shape.inputs - first), count = inputs * shape.taps;
    const Stored* const stored = from + first * shape.taps;
    uint32_t not_finite = 0;
    for (size_t i = 0; i < count; i++) {
      scaled[i] = static_cast<float>(double(to_float(stored[i])) * scale);
      not_finite |= (bits_of(scaled[i]) & kExponent) == kExponent;
    }
    if (not_finite) {
      const auto is_finite = [](float value) { return std::isfinite(value); };
      throw Error(ErrorCode::kNonFinite, "A weight of channel " + std::to_string(k) + " comes to " +
                                             name_of(*std::find_if_not(scaled, scaled + count, is_finite)) +
                                             ".");
    }
    for (size_t tap = 0; tap < shape.taps; tap++)
      for (size_t c = 0; c < inputs; c++) to[tap * shape.inputs + first + c] = scaled[c * shape.taps + tap];
  }
}

template <typename Stored>
const float* fold_channels(std::byte* memory, const WeightShape& shape, const double* scale) {
  const size_t length = shape.inputs * shape.taps, step = length * sizeof(Stored);
  const size_t room = shape.count() * std::max(sizeof(Stored), sizeof(float));
  const std::byte* from = memory + room - shape.outputs * step;
  float* const result = reinterpret_cast<float*>(memory);
  // Writing never gets ahead of reading: what is still to be read lies at the end of the room, and what it
  // comes to has room behind what is written. The channel itself is copied before its place is taken.
  std::vector<Stored> channel(length);
  std::vector<float> scaled(block_inputs(shape) * shape.taps);
  for (size_t k = 0; k < shape.outputs; k++) {
    std::memcpy(channel.data(), from + k * step, step);
    fold_channel(result + k * length, channel.data(), shape, k, scale[k], scaled.data());
  }
  return result;
}

}  // namespace

std::optional<StoredType> stored_type(const std::string& name) {
  if (name == "F32") return StoredType::kF32;
  if (name == "F16") return StoredType::kF16;
  if (name == "BF16") return StoredType::kBF16;
  if (name == "F64") return StoredType::kF64;
  return std::nullopt;
}

size_t folding_bytes(const WeightShape& shape, StoredType type) {
  return shape.count() * (type == StoredType::kF64 ? sizeof(double) : sizeof(float));
}

const float* fold_weights(std::byte* memory, StoredType type, const WeightShape& shape, const double* scale) {
  switch (type) {
    case StoredType::kF16:
      return fold_channels<Half>(memory, shape, scale);
    case StoredType::kBF16:
      return fold_channels<BFloat16>(memory, shape, scale);
    case StoredType::kF64:
      return fold_channels<double>(memory, shape, scale);
    default:
      return fold_channels<float>(memory, shape, scale);
  }
}

}  // namespace residual::core
