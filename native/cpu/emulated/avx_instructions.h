// The few instructions of AVX-512 and AVX-VNNI that multiply int8, int16 and bf16 numbers, and what else the
// sources that use them need, in plain C++, under the names of their intrinsics: so every machine can test
// what those do (Intel SDM, volume 2).
#pragma once

#include <cstdint>
#include <cstring>

#include "cpu/emulated/bf16_products.h"

namespace residual::cpu {
namespace {

template <int kLanes>
struct EmulatedVector {
  uint32_t lane[kLanes];
};
using __m256i = EmulatedVector<8>;
using __m512i = EmulatedVector<16>;
using __m512 = EmulatedVector<16>;
using __m512bh = EmulatedVector<16>;

template <typename Vector, typename Lane>
inline Vector lanes_of(const Lane& lane) {
  Vector result;
  for (int i = 0; i < static_cast<int>(sizeof(Vector) / 4); i++) result.lane[i] = lane(i);
  return result;
}

template <typename Vector>
inline Vector loaded(const void* from) {
  Vector result;
  std::memcpy(&result, from, sizeof result);
  return result;
}

// Each lane's four products of uint8 with int8.
template <typename Vector>
inline Vector dpbusd(const Vector& sum, const Vector& a, const Vector& b) {
  return lanes_of<Vector>([&](int i) {
    uint32_t total = sum.lane[i];
    for (int shift = 0; shift < 32; shift += 8)
      total += static_cast<uint8_t>(a.lane[i] >> shift) * static_cast<int8_t>(b.lane[i] >> shift);
    return total;
  });
}

// Each lane's two products of int16.
template <typename Vector>
inline Vector dpwssd(const Vector& sum, const Vector& a, const Vector& b) {
  return lanes_of<Vector>([&](int i) {
    uint32_t total = sum.lane[i];
    for (int shift = 0; shift < 32; shift += 16)
      total += static_cast<int16_t>(a.lane[i] >> shift) * static_cast<int16_t>(b.lane[i] >> shift);
    return total;
  });
}

inline __m256i _mm256_loadu_si256(const __m256i* from) { return loaded<__m256i>(from); }
inline void _mm256_storeu_si256(__m256i* to, const __m256i& value) { std::memcpy(to, &value, sizeof value); }
inline __m256i _mm256_set1_epi32(int value) {
  return lanes_of<__m256i>([&](int) { return value; });
}
inline __m256i _mm256_set1_epi8(char value) {
  return _mm256_set1_epi32(static_cast<int>(0x01010101u * static_cast<uint8_t>(value)));
}
inline __m256i _mm256_xor_si256(const __m256i& a, const __m256i& b) {
  return lanes_of<__m256i>([&](int i) { return a.lane[i] ^ b.lane[i]; });
}
inline __m256i _mm256_dpbusd_avx_epi32(const __m256i& sum, const __m256i& a, const __m256i& b) {
  return dpbusd(sum, a, b);
}
inline __m256i _mm256_dpwssd_avx_epi32(const __m256i& sum, const __m256i& a, const __m256i& b) {
  return dpwssd(sum, a, b);
}

inline __m512i _mm512_load_si512(const void* from) { return loaded<__m512i>(from); }
inline void _mm512_store_si512(void* to, const __m512i& value) { std::memcpy(to, &value, sizeof value); }
inline __m512i _mm512_set1_epi32(int value) {
  return lanes_of<__m512i>([&](int) { return value; });
}
inline __m512i _mm512_set1_epi8(char value) {
  return _mm512_set1_epi32(static_cast<int>(0x01010101u * static_cast<uint8_t>(value)));
}
inline __m512i _mm512_xor_si512(const __m512i& a, const __m512i& b) {
  return lanes_of<__m512i>([&](int i) { return a.lane[i] ^ b.lane[i]; });
}
inline __m512i _mm512_dpbusd_epi32(const __m512i& sum, const __m512i& a, const __m512i& b) {
  return dpbusd(sum, a, b);
}
inline __m512i _mm512_dpwssd_epi32(const __m512i& sum, const __m512i& a, const __m512i& b) {
  return dpwssd(sum, a, b);
}
// The upper products first.
inline __m512 _mm512_dpbf16_ps(const __m512& sum, const __m512bh& a, const __m512bh& b) {
  return lanes_of<__m512>([&](int i) {
    float total = float_of_bits(sum.lane[i]);
    for (int shift = 16; shift >= 0; shift -= 16)
      total = fused_multiply_add(total, static_cast<uint16_t>(a.lane[i] >> shift),
                                 static_cast<uint16_t>(b.lane[i] >> shift));
    return bits_of(total);
  });
}

}  // namespace
}  // namespace residual::cpu
