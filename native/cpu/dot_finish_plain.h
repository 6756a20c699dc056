// Finishes sums in loops over the columns of a panel, which compilers make vectors of. In an unnamed
// namespace, as kernels_impl.h explains. Products and sums are rounded one by one, so what includes this is
// compiled with -ffp-contract=off.
#pragma once

#include <cstring>

#include "cpu/dot_finish.h"

namespace residual::cpu {
namespace {

// A number of one of these types as float.
template <DotType kType>
struct Number {
  using Kept = uint8_t;
};
template <>
struct Number<DotType::kInt8> {
  using Kept = int8_t;
};
template <>
struct Number<DotType::kBf16> {
  using Kept = uint16_t;
};
template <>
struct Number<DotType::kFp32> {
  using Kept = float;
};

// The nearest integer, even if there are two, of a value between -2^22 and 2^22.
inline int32_t nearest(float value) {
  constexpr float kMagic = 3 << 22;  // its last bit counts ones
  const float shifted = value + kMagic;
  int32_t bits, magic;
  std::memcpy(&bits, &shifted, sizeof bits);
  std::memcpy(&magic, &kMagic, sizeof magic);
  return bits - magic;
}

// What an int8 convolution's sums become, for one kind of result and of residual. `kHasResidual` is false for
// any kResidual where there is none.
template <DotType kDst, DotType kResidual, bool kHasResidual>
struct FinishInt8 {
  using Dst = typename Number<kDst>::Kept;
  using Residual = typename Number<kResidual>::Kept;
  const DotOutput& out;
  const int32_t* start;
  const float* scale;
  int columns;

  FinishInt8(const DotTask& task, int panel, int columns)
      : out(task.output),
        start(static_cast<const int32_t*>(task.start) + panel * kPanelColumns),
        scale(task.scale + panel * kPanelColumns),
        columns(columns) {}

  // `count` columns from index `at` on. Everything is in local variables: bytes that are written may be
  // anyone's.
  inline __attribute__((always_inline)) void panel(const int32_t* sums, int column, size_t at,
                                                   int count) const {
    const float* const scales = scale + column;
    float values[kPanelColumns];
    for (int k = 0; k < count; k++) {
      const int32_t sum = kAddsStart ? sums[k] + start[column + k] : sums[k];
      values[k] = static_cast<float>(sum) * scales[k];
    }
    if constexpr (kHasResidual) {
      const Residual* const residual = static_cast<const Residual*>(out.residual) + at;
      const float residual_scale = out.residual_scale;
      for (int k = 0; k < count; k++) values[k] += static_cast<float>(residual[k]) * residual_scale;
    }
    Dst* const dst = static_cast<Dst*>(out.dst) + at;
    if constexpr (kDst == DotType::kFp32) {
      const bool relu = out.relu;
      for (int k = 0; k < count; k++) dst[k] = relu && values[k] < 0 ? 0 : values[k];
    } else {
      const float least = out.least, most = out.most;
      Dst rounded[kPanelColumns];
      for (int k = 0; k < count; k++) {
        const float enough = values[k] < least ? least : values[k];
        rounded[k] = static_cast<Dst>(nearest(enough > most ? most : enough));
      }
      std::memcpy(dst, rounded, count * sizeof(Dst));
    }
  }

  void row(const int32_t* sums, size_t at) const {
    for (int k = 0; k < columns && k < kSumColumns; k += kPanelColumns) {
      if (columns - k >= kPanelColumns)
        panel(sums + k, k, at + k, kPanelColumns);
      else
        panel(sums + k, k, at + k, columns - k);
    }
  }
  void two_rows(const int32_t* sums, size_t at) const {
    row(sums, at);
    row(sums + kSumColumns, at + out.channels);
  }
};

// What a bf16 convolution's sums become.
template <DotType kDst, bool kHasResidual>
struct FinishBf16 {
  using Dst = typename Number<kDst>::Kept;
  const DotOutput& out;
  const float* start;
  int columns;

  FinishBf16(const DotTask& task, int panel, int columns)
      : out(task.output),
        start(static_cast<const float*>(task.start) + panel * kPanelColumns),
        columns(columns) {}

  // Written at once: the residual may lie where the result goes.
  void row(const int32_t* sums, size_t at) const {
    const auto* const residual = static_cast<const uint16_t*>(out.residual) + at;
    const int count = columns < kSumColumns ? columns : kSumColumns;
    const bool relu = out.relu;
    Dst row[kSumColumns];
    for (int k = 0; k < count; k++) {
      float value;
      std::memcpy(&value, sums + k, sizeof value);
      if constexpr (kAddsStart) value += start[k];
      if constexpr (kHasResidual) value += from_bf16(residual[k]);
      if (relu && value < 0) value = 0;
      if constexpr (kDst == DotType::kFp32)
        row[k] = value;
      else
        row[k] = to_bf16(value);
    }
    std::memcpy(static_cast<Dst*>(out.dst) + at, row, count * sizeof(Dst));
  }
  void two_rows(const int32_t* sums, size_t at) const {
    row(sums, at);
    row(sums + kSumColumns, at + out.channels);
  }

 private:
  static float from_bf16(uint16_t bits) {
    const uint32_t wide = uint32_t(bits) << 16;
    float value;
    std::memcpy(&value, &wide, sizeof value);
    return value;
  }
  // To the nearest, even if there are two; NaN stays one. A denormal becomes zero, as with vcvtneps2bf16.
  static uint16_t to_bf16(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7fffffff) > 0x7f800000) return static_cast<uint16_t>(bits >> 16 | 0x40);
    if ((bits & 0x7f800000) == 0) return static_cast<uint16_t>(bits >> 16 & 0x8000);
    return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
  }
};

}  // namespace
}  // namespace residual::cpu
