// Sums of products of bf16 as Intel's processors round them, whatever MXCSR says: each step is one fused
// multiply-add, rounded to the nearest, even if there are two; denormals that go in or come out are zero
// (Intel SDM, volume 2: TDPBF16PS and VDPBF16PS).
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace residual::cpu {
namespace {

inline float float_of_bits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline uint32_t bits_of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline bool is_nan(uint32_t bits) { return (bits & 0x7fffffff) > 0x7f800000; }

// A denormal as zero of its sign.
inline float flushed(uint32_t bits) {
  return float_of_bits((bits & 0x7f800000) == 0 ? bits & 0x80000000 : bits);
}

// sum + a * b, of which `a` and `b` are bf16.
inline float fused_multiply_add(float sum, uint16_t a, uint16_t b) {
  constexpr uint32_t kQuiet = 0x00400000, kIndefinite = 0xffc00000;
  const uint32_t wide[] = {uint32_t(a) << 16, uint32_t(b) << 16, bits_of(sum)};
  for (const uint32_t bits : wide)
    if (is_nan(bits)) return float_of_bits(bits | kQuiet);
  const float x = flushed(wide[0]), y = flushed(wide[1]), z = flushed(wide[2]);
  const float result = std::fma(x, y, z);
  if (is_nan(bits_of(result))) return float_of_bits(kIndefinite);  // infinity times zero, or less infinity
  constexpr float kLeastNormal = 0x1p-126f, kScale = 0x1p64f;
  if (std::abs(result) > kLeastNormal || result == 0) return result;
  // Whether a result is too small is decided by what it would be rounded to with smaller exponents.
  const float scaled =
      std::fma(x * (std::abs(x) < 1 ? kScale : 1), y * (std::abs(x) < 1 ? 1 : kScale), z * kScale);
  return std::abs(scaled) < kLeastNormal * kScale ? std::copysign(0.0f, scaled) : scaled / kScale;
}

// a + b.
inline float add(float a, float b) {
  constexpr uint32_t kQuiet = 0x00400000, kIndefinite = 0xffc00000;
  if (is_nan(bits_of(a))) return float_of_bits(bits_of(a) | kQuiet);
  if (is_nan(bits_of(b))) return float_of_bits(bits_of(b) | kQuiet);
  const float result = flushed(bits_of(a)) + flushed(bits_of(b));
  return is_nan(bits_of(result)) ? float_of_bits(kIndefinite) : flushed(bits_of(result));
}

}  // namespace
}  // namespace residual::cpu
