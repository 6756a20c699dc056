// Finishes sums with AVX2: one or two panels of a pixel at a time. For files that are compiled with it; in an
// unnamed namespace, as kernels_impl.h explains.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "cpu/dot_finish.h"

namespace residual::cpu {
namespace {

// What an int8 convolution's sums become, for one kind of result and of residual. `kHasResidual` is false for
// any kResidual where there is none.
template <DotType kDst, DotType kResidual, bool kHasResidual>
struct FinishInt8 {
  static constexpr size_t kBytes = kDst == DotType::kFp32 ? 4 : 1;  // of a number of the result
  static constexpr int kVectors = kSumColumns / 8;
  const DotOutput& out;
  int columns;
  __m256 scale[kVectors];
  __m256 residual_scale;

  FinishInt8(const DotTask& task, int panel, int columns)
      : out(task.output), columns(columns), residual_scale(_mm256_set1_ps(out.residual_scale)) {
    for (int v = 0; v < (columns > kPanelColumns ? kVectors : kVectors / 2); v++)
      scale[v] = _mm256_loadu_ps(task.scale + panel * kPanelColumns + v * 8);
  }

  // The values of eight columns.
  __m256 value(const int32_t* sums, int v, const std::byte* residual) const {
    const __m256i integers = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(sums + v * 8));
    const __m256 scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(integers), scale[v]);
    if constexpr (!kHasResidual) return scaled;
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(residual + v * 8));
    const __m256i wide =
        kResidual == DotType::kInt8 ? _mm256_cvtepi8_epi32(bytes) : _mm256_cvtepu8_epi32(bytes);
    return _mm256_add_ps(scaled, _mm256_mul_ps(_mm256_cvtepi32_ps(wide), residual_scale));
  }

  // Two vectors of 16-bit integers as bytes. All packing clamps, and works within 128 bits.
  __m256i packed(__m256i a, __m256i b) const {
    const __m256i least = _mm256_set1_epi16(static_cast<int16_t>(out.least));
    const __m256i bytes = kDst == DotType::kUint8
                              ? _mm256_packus_epi16(a, b)
                              : _mm256_packs_epi16(_mm256_max_epi16(a, least), _mm256_max_epi16(b, least));
    return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  }

  // One or two panels of a pixel, from `residual` (if there is any) to `dst`.
  template <int kPanels>
  void panels(std::byte* dst, const int32_t* sums, const std::byte* residual) const {
    if constexpr (kDst == DotType::kFp32) {
      const __m256 bound = out.relu ? _mm256_setzero_ps() : _mm256_set1_ps(-__builtin_inff());
      for (int v = 0; v < 2 * kPanels; v++)
        _mm256_storeu_ps(reinterpret_cast<float*>(dst) + v * 8,
                         _mm256_max_ps(value(sums, v, residual), bound));
    } else {
      __m256i words[kPanels];
      // Values are far below 2^31: dot_conv.cc sees to it.
      for (int p = 0; p < kPanels; p++)
        words[p] = _mm256_packs_epi32(_mm256_cvtps_epi32(value(sums, 2 * p, residual)),
                                      _mm256_cvtps_epi32(value(sums, 2 * p + 1, residual)));
      const __m256i bytes = packed(words[0], words[kPanels - 1]);
      if constexpr (kPanels == 2)
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(dst), bytes);
      else
        _mm_storeu_si128(reinterpret_cast<__m128i*>(dst), _mm256_castsi256_si128(bytes));
    }
  }

  void row(const int32_t* sums, size_t at) const {
    std::byte* const dst = static_cast<std::byte*>(out.dst) + at * kBytes;
    const std::byte* const residual = static_cast<const std::byte*>(out.residual) + (kHasResidual ? at : 0);
    if (columns >= kSumColumns) return panels<2>(dst, sums, residual);
    if (columns == kPanelColumns) return panels<1>(dst, sums, residual);
    std::byte partial[kSumColumns * kBytes], residuals[kSumColumns] = {};
    if (kHasResidual) std::memcpy(residuals, residual, columns);
    columns > kPanelColumns ? panels<2>(partial, sums, residuals) : panels<1>(partial, sums, residuals);
    std::memcpy(dst, partial, columns * kBytes);
  }
  void two_rows(const int32_t* sums, size_t at) const {
    row(sums, at);
    row(sums + kSumColumns, at + out.channels);
  }
};

}  // namespace
}  // namespace residual::cpu
