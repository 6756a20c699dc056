#include "core/stored_weights.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
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

constexpr size_t kMostRead = size_t(1) << 30;  // some systems refuse to read 2 GiB or more at once
constexpr uint32_t kExponent = 0x7f800000;     // of infinity and NaN alone: all ones

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

void read_fully(int file, std::byte* to, size_t bytes, uint64_t position) {
  while (bytes > 0) {
    const ssize_t read = pread(file, to, std::min(bytes, kMostRead), static_cast<off_t>(position));
    if (read < 0 && errno == EINTR) continue;
    if (read < 0)
      throw Error(ErrorCode::kFileNotFound, std::string("Reading failed: ") + std::strerror(errno) + ".");
    if (read == 0)
      throw Error(ErrorCode::kCheckpointInvalid,
                  "The file ends at " + std::to_string(position) + " bytes, in the middle of a tensor.");
    to += read;
    bytes -= read;
    position += read;
  }
}

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

StoredWeights::StoredWeights(const WeightPlace& place, StoredType type, const WeightShape& shape,
                             const double* scale)
    : place_(place), type_(type), shape_(shape), scale_(scale) {}

// Where the channels from `first` on lie in memory.
const std::byte* StoredWeights::channels(size_t first, size_t count) {
  if (place_.memory) return place_.memory + first * channel_bytes();
  if (first < first_read_ || first + count > first_read_ + channels_read_) {
    channels_read_ = 0;
    read_.resize(count * channel_bytes());
    read_fully(place_.file, read_.data(), read_.size(), place_.position + first * channel_bytes());
    first_read_ = first;
    channels_read_ = count;
  }
  return read_.data() + (first - first_read_) * channel_bytes();
}

template <typename Stored>
void StoredWeights::fold_from(float* to, size_t first, size_t count, size_t begin, size_t size) {
  const std::byte* stored = channels(first, count);
  for (size_t k = first; k < first + count; k++, to += size, stored += channel_bytes()) {
    const Stored* const from = reinterpret_cast<const Stored*>(stored) + begin;
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

void StoredWeights::fold(float* to, size_t first, size_t count, size_t begin, size_t size) {
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
