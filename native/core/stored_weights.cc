#include "core/stored_weights.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

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

}  // namespace

std::optional<StoredType> stored_type(const std::string& name) {
  if (name == "F32") return StoredType::kF32;
  if (name == "F16") return StoredType::kF16;
  if (name == "BF16") return StoredType::kBF16;
  if (name == "F64") return StoredType::kF64;
  return std::nullopt;
}

size_t bytes_of(StoredType type) {
  switch (type) {
    case StoredType::kF16:
    case StoredType::kBF16:
      return 2;
    case StoredType::kF64:
      return 8;
    default:
      return 4;
  }
}

template <typename Stored>
void StoredWeights::fold_from(float* to, size_t first, size_t count, size_t begin, size_t size) const {
  const size_t length = shape_.inputs * shape_.taps;
  for (size_t k = first; k < first + count; k++, to += size) {
    const Stored* const from = reinterpret_cast<const Stored*>(data_) + k * length + begin;
    const double scale = scale_[k];
    uint32_t not_finite = 0;
    for (size_t i = 0; i < size; i++) {
      to[i] = static_cast<float>(double(to_float(from[i])) * scale);
      not_finite |= (bits_of(to[i]) & kExponent) == kExponent;
    }
    if (!not_finite) continue;
    const float* const culprit =
        std::find_if_not(to, to + size, [](float value) { return std::isfinite(value); });
    throw Error(ErrorCode::kNonFinite,
                "A weight of channel " + std::to_string(k) + " comes to " + name_of(*culprit) + ".");
  }
}

void StoredWeights::fold(float* to, size_t first, size_t count, size_t begin, size_t size) const {
  switch (type_) {
    case StoredType::kF16:
      return fold_from<Half>(to, first, count, begin, size);
    case StoredType::kBF16:
      return fold_from<BFloat16>(to, first, count, begin, size);
    case StoredType::kF64:
      return fold_from<double>(to, first, count, begin, size);
    default:
      return fold_from<float>(to, first, count, begin, size);
  }
}

}  // namespace residual::core
