#include "core/stored_weights.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "core/error.h"
#include "core/read_file.h"

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

struct Integer {
  int8_t value;
};
float to_float(Integer integer) { return integer.value; }

float to_float(BFloat16 value) { return float_of_bits(uint32_t(value.bits) << 16); }

// How JavaScript would print it.
const char* name_of(float value) { return std::isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity"; }

// Throws NON_FINITE where one of `count` numbers is not finite; `channel_of` has the index of its channel.
template <typename ChannelOf>
void check_finite(const float* numbers, size_t count, const ChannelOf& channel_of) {
  const float* const culprit =
      std::find_if_not(numbers, numbers + count, [](float value) { return std::isfinite(value); });
  if (culprit == numbers + count) return;
  throw Error(ErrorCode::kNonFinite, "A weight of channel " + std::to_string(channel_of(culprit - numbers)) +
                                         " comes to " + name_of(*culprit) + ".");
}

// Throws CHECKPOINT_INVALID where one of `count` integers of channel `k` is -128, which has no opposite.
void check_integers(const int8_t* integers, size_t count, size_t k) {
  if (!std::memchr(integers, 0x80, count)) return;
  throw Error(ErrorCode::kCheckpointInvalid,
              "A weight of channel " + std::to_string(k) + " is the integer -128, outside -127 to 127.");
}

// Calls `fold` with a number of the type.
template <typename Fold>
void of_type(StoredType type, const Fold& fold) {
  switch (type) {
    case StoredType::kF16:
      return fold(Half());
    case StoredType::kBF16:
      return fold(BFloat16());
    case StoredType::kF64:
      return fold(double());
    case StoredType::kI8:
      return fold(Integer());
    default:
      return fold(float());
  }
}

}  // namespace

std::optional<StoredType> stored_type(const std::string& name) {
  if (name == "F32") return StoredType::kF32;
  if (name == "F16") return StoredType::kF16;
  if (name == "BF16") return StoredType::kBF16;
  if (name == "F64") return StoredType::kF64;
  if (name == "I8") return StoredType::kI8;
  return std::nullopt;
}

size_t bytes_of(StoredType type) {
  switch (type) {
    case StoredType::kF16:
    case StoredType::kBF16:
      return 2;
    case StoredType::kF64:
      return 8;
    case StoredType::kI8:
      return 1;
    default:
      return 4;
  }
}

StoredWeights::StoredWeights(const WeightPlace& place, StoredType type, const WeightShape& shape,
                             const double* scale)
    : place_(place), type_(type), shape_(shape), scale_(scale) {}

// Where `count` records from `first` on, of so many numbers, lie in memory.
const std::byte* StoredWeights::stored(size_t first, size_t count, size_t numbers_each) {
  const size_t begin = first * numbers_each * bytes_of(type_), bytes = count * numbers_each * bytes_of(type_);
  if (place_.memory) return place_.memory + begin;
  if (begin < read_from_ || begin + bytes > read_from_ + read_.size()) {
    read_from_ = SIZE_MAX;  // whatever becomes of the reading
    read_.resize(bytes);
    read_fully(place_.file, read_.data(), bytes, place_.position + begin);
    read_from_ = begin;
  }
  return read_.data() + (begin - read_from_);
}

template <typename Stored>
void StoredWeights::fold_from(float* to, size_t first, size_t count, size_t begin, size_t size) {
  const size_t each = shape_.inputs * shape_.taps;
  const Stored* from = reinterpret_cast<const Stored*>(stored(first, count, each)) + begin;
  for (size_t k = first; k < first + count; k++, to += size, from += each) {
    const double scale = scale_[k];
    if constexpr (std::is_same_v<Stored, Integer>) check_integers(&from->value, size, k);
    uint32_t not_finite = 0;
    for (size_t i = 0; i < size; i++) {
      to[i] = static_cast<float>(double(to_float(from[i])) * scale);
      not_finite |= (bits_of(to[i]) & kExponent) == kExponent;
    }
    if (not_finite) check_finite(to, size, [k](size_t) { return k; });
  }
}

template <typename Stored>
void StoredWeights::gather_from(float* to, size_t first, size_t count, size_t begin, size_t size) {
  const size_t inputs = shape_.inputs, taps = shape_.taps, outputs = shape_.outputs;
  const Stored* const from = reinterpret_cast<const Stored*>(stored(0, taps * inputs, outputs));
  constexpr size_t kTogether = 16;  // output channels: what is fetched of a row is used
  for (size_t k = first; k < first + count; k += kTogether) {
    const size_t end = std::min(k + kTogether, first + count);
    for (size_t i = 0; i < size; i++) {
      const size_t c = (begin + i) / taps, tap = (begin + i) % taps;
      const Stored* const row = from + (tap * inputs + c) * outputs;
      for (size_t n = k; n < end; n++)
        to[(n - first) * size + i] = static_cast<float>(double(to_float(row[n])) * scale_[n]);
    }
  }
  check_finite(to, count * size, [&](size_t i) { return first + i / size; });
}

template <typename Stored>
void StoredWeights::fold_inputs_from(float* to, size_t tap, size_t first, size_t count) {
  const size_t outputs = shape_.outputs;
  const Stored* from = reinterpret_cast<const Stored*>(stored(tap * shape_.inputs + first, count, outputs));
  for (size_t c = 0; c < count; c++, to += outputs, from += outputs) {
    uint32_t not_finite = 0;
    for (size_t k = 0; k < outputs; k++) {
      to[k] = static_cast<float>(double(to_float(from[k])) * scale_[k]);
      not_finite |= (bits_of(to[k]) & kExponent) == kExponent;
    }
    if (not_finite) check_finite(to, outputs, [](size_t k) { return k; });
  }
}

void StoredWeights::fold(float* to, size_t first, size_t count, size_t begin, size_t size) {
  of_type(type_, [&](auto number) {
    using Stored = decltype(number);
    if (layout() == WeightLayout::kRSCK)
      gather_from<Stored>(to, first, count, begin, size);
    else
      fold_from<Stored>(to, first, count, begin, size);
  });
}

void StoredWeights::fold_inputs(float* to, size_t tap, size_t first, size_t count) {
  of_type(type_, [&](auto number) { fold_inputs_from<decltype(number)>(to, tap, first, count); });
}

void StoredWeights::integers(int8_t* to, size_t first, size_t count) {
  const size_t each = shape_.inputs * shape_.taps;
  std::memcpy(to, stored(first, count, each), count * each);
  for (size_t k = first; k < first + count; k++) check_integers(to + (k - first) * each, each, k);
}

}  // namespace residual::core
