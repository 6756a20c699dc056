// Finishes sums with AVX-512: two neighbouring panels at a time, so that 32 channels of a pixel are written
// at once. For files that are compiled with AVX-512 (F, BW, DQ, VL); in an unnamed namespace, as
// kernels_impl.h explains.
#pragma once

#include <immintrin.h>

#include "cpu/dot_finish.h"

namespace residual::cpu {
namespace {

template <DotType kResidual>
inline __m512 residual_of(const void* residual, size_t at, __mmask16 columns) {
  const auto* const bytes = static_cast<const uint8_t*>(residual) + at;
  const __m128i packed = _mm_maskz_loadu_epi8(columns, bytes);
  return _mm512_cvtepi32_ps(kResidual == DotType::kInt8 ? _mm512_cvtepi8_epi32(packed)
                                                        : _mm512_cvtepu8_epi32(packed));
}

inline __mmask16 mask_of(int columns) {
  return columns >= kPanelColumns ? __mmask16(0xffff) : __mmask16((1u << (columns > 0 ? columns : 0)) - 1);
}

// What an int8 convolution's sums become, for one kind of result and of residual. `kHasResidual` is false for
// any kResidual where there is none.
template <DotType kDst, DotType kResidual, bool kHasResidual>
struct FinishInt8 {
  const DotOutput& out;
  __mmask16 mask[2];
  __m512i start[2];
  __m512 scale[2];
  __m512 residual_scale;

  FinishInt8(const DotTask& task, int panel, int columns)
      : out(task.output),
        mask{mask_of(columns), mask_of(columns - kPanelColumns)},
        residual_scale(_mm512_set1_ps(out.residual_scale)) {
    for (int half = 0; half < (columns > kPanelColumns ? 2 : 1); half++) {
      const int column = (panel + half) * kPanelColumns;
      start[half] = _mm512_loadu_si512(static_cast<const int32_t*>(task.start) + column);
      scale[half] = _mm512_loadu_ps(task.scale + column);
    }
  }

  __m512 value(const int32_t* sums, int half, size_t at) const {
    __m512i sum = _mm512_load_si512(sums + half * kPanelColumns);
    if constexpr (kAddsStart) sum = _mm512_add_epi32(sum, start[half]);
    __m512 v = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), scale[half]);
    if constexpr (kHasResidual)
      v = _mm512_add_ps(
          v, _mm512_mul_ps(residual_of<kResidual>(out.residual, at + half * kPanelColumns, mask[half]),
                           residual_scale));
    return v;
  }

  // Rounded; packing clamps it to the type. Values are far below 2^31: dot_conv.cc sees to it.
  __m512i rounded(const int32_t* sums, int half, size_t at) const {
    return _mm512_cvtps_epi32(value(sums, half, at));
  }

  // Four vectors of integers as bytes. Packing works within 128 bits: lane i has dwords i of all four.
  __m512i packed(__m512i a, __m512i b, __m512i c, __m512i d) const {
    __m512i ab = _mm512_packs_epi32(a, b), cd = _mm512_packs_epi32(c, d);
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    if constexpr (kDst == DotType::kUint8) {
      return _mm512_permutexvar_epi32(order, _mm512_packus_epi16(ab, cd));
    } else {
      const __m512i least = _mm512_set1_epi16(static_cast<int16_t>(out.least));
      ab = _mm512_max_epi16(ab, least);
      cd = _mm512_max_epi16(cd, least);
      return _mm512_permutexvar_epi32(order, _mm512_packs_epi16(ab, cd));
    }
  }

  // One pixel, whose channels begin at index `at`.
  void row(const int32_t* sums, size_t at) const {
    if constexpr (kDst == DotType::kFp32) {
      float* const dst = static_cast<float*>(out.dst) + at;
      for (int half = 0; half < 2; half++) {
        __m512 v = value(sums, half, at);
        if (out.relu) v = _mm512_max_ps(v, _mm512_setzero_ps());
        _mm512_mask_storeu_ps(dst + half * kPanelColumns, mask[half], v);
      }
    } else {
      const __m512i first = rounded(sums, 0, at), second = rounded(sums, 1, at);
      _mm256_mask_storeu_epi8(static_cast<uint8_t*>(out.dst) + at, mask[1] << kPanelColumns | mask[0],
                              _mm512_castsi512_si256(packed(first, second, first, second)));
    }
  }

  // Two pixels whose 32 channels are all wanted.
  void two_rows(const int32_t* sums, size_t at) const {
    const int32_t* const lower = sums + kSumColumns;
    const size_t below = at + out.channels;
    if constexpr (kDst == DotType::kFp32) {
      row(sums, at);
      row(lower, below);
    } else {
      const __m512i pixels = packed(rounded(sums, 0, at), rounded(sums, 1, at), rounded(lower, 0, below),
                                    rounded(lower, 1, below));
      uint8_t* const dst = static_cast<uint8_t*>(out.dst);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(dst + at), _mm512_castsi512_si256(pixels));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(dst + below), _mm512_extracti64x4_epi64(pixels, 1));
    }
  }
};

// What a bf16 convolution's sums become.
template <DotType kDst, bool kHasResidual>
struct FinishBf16 {
  const DotOutput& out;
  __mmask16 mask[2];
  __m512 start[2];

  FinishBf16(const DotTask& task, int panel, int columns)
      : out(task.output), mask{mask_of(columns), mask_of(columns - kPanelColumns)} {
    for (int half = 0; half < (columns > kPanelColumns ? 2 : 1); half++)
      start[half] = _mm512_loadu_ps(static_cast<const float*>(task.start) + (panel + half) * kPanelColumns);
  }

  __m512 value(const int32_t* sums, int half, size_t at) const {
    const float* const from = reinterpret_cast<const float*>(sums) + half * kPanelColumns;
    __m512 v = _mm512_load_ps(from);
    if constexpr (kAddsStart) v = _mm512_add_ps(v, start[half]);
    if constexpr (kHasResidual) {
      const auto* const residual = static_cast<const uint16_t*>(out.residual) + at + half * kPanelColumns;
      const __m512i bits = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask[half], residual));
      v = _mm512_add_ps(v, _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16)));
    }
    // The second operand is what remains of NaN.
    return out.relu ? _mm512_max_ps(_mm512_setzero_ps(), v) : v;
  }

  void row(const int32_t* sums, size_t at) const {
    for (int half = 0; half < 2; half++) {
      const __m512 v = value(sums, half, at);
      if constexpr (kDst == DotType::kFp32)
        _mm512_mask_storeu_ps(static_cast<float*>(out.dst) + at + half * kPanelColumns, mask[half], v);
      else
        _mm256_mask_storeu_epi16(static_cast<uint16_t*>(out.dst) + at + half * kPanelColumns, mask[half],
                                 reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(v)));
    }
  }

  void two_rows(const int32_t* sums, size_t at) const {
    if constexpr (kDst == DotType::kFp32) {
      row(sums, at);
      row(sums + kSumColumns, at + out.channels);
    } else {
      for (int i = 0; i < 2; i++, sums += kSumColumns, at += out.channels)
        _mm512_storeu_si512(
            static_cast<uint16_t*>(out.dst) + at,
            reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(value(sums, 1, at), value(sums, 0, at))));
    }
  }
};

}  // namespace
}  // namespace residual::cpu
