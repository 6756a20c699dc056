// Finishes sums with AVX2: a panel of a pixel at a time. For files that are compiled with it; in an unnamed
// namespace, as kernels_impl.h explains.
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
  const DotOutput& out;
  const float* scale;
  int columns;
  __m256 residual_scale;

  FinishInt8(const DotTask& task, int panel, int columns)
      : out(task.output),
        scale(task.scale + panel * kPanelColumns),
        columns(columns),
        residual_scale(_mm256_set1_ps(out.residual_scale)) {}

  // The values of half a panel, whose residuals are the lower bytes of `residuals`.
  __m256 value(const int32_t* sums, const float* scales, __m128i residuals) const {
    const __m256i integers = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(sums));
    __m256 v = _mm256_mul_ps(_mm256_cvtepi32_ps(integers), _mm256_loadu_ps(scales));
    if constexpr (kHasResidual) {
      const __m256i wide =
          kResidual == DotType::kInt8 ? _mm256_cvtepi8_epi32(residuals) : _mm256_cvtepu8_epi32(residuals);
      v = _mm256_add_ps(v, _mm256_mul_ps(_mm256_cvtepi32_ps(wide), residual_scale));
    }
    return v;
  }

  // A panel of a pixel, from `residual` (if there is any) to `dst`.
  void panel(std::byte* dst, const int32_t* sums, const float* scales, const std::byte* residual) const {
    __m128i residuals = _mm_setzero_si128();
    if constexpr (kHasResidual) residuals = _mm_loadu_si128(reinterpret_cast<const __m128i*>(residual));
    const __m256 first = value(sums, scales, residuals);
    const __m256 second = value(sums + 8, scales + 8, _mm_srli_si128(residuals, 8));
    if constexpr (kDst == DotType::kFp32) {
      const __m256 bound = out.relu ? _mm256_setzero_ps() : _mm256_set1_ps(-__builtin_inff());
      _mm256_storeu_ps(reinterpret_cast<float*>(dst), _mm256_max_ps(first, bound));
      _mm256_storeu_ps(reinterpret_cast<float*>(dst) + 8, _mm256_max_ps(second, bound));
    } else {
      // Packing works within 128 bits, and clamps. Values are far below 2^31: dot_conv.cc sees to it.
      const __m256i pairs = _mm256_packs_epi32(_mm256_cvtps_epi32(first), _mm256_cvtps_epi32(second));
      const __m256i words = _mm256_permute4x64_epi64(pairs, 0xd8);
      const __m128i lower = _mm256_castsi256_si128(words), upper = _mm256_extracti128_si256(words, 1);
      const __m128i least = _mm_set1_epi16(static_cast<int16_t>(out.least));
      const __m128i bytes = kDst == DotType::kUint8
                                ? _mm_packus_epi16(lower, upper)
                                : _mm_packs_epi16(_mm_max_epi16(lower, least), _mm_max_epi16(upper, least));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(dst), bytes);
    }
  }

  void row(const int32_t* sums, size_t at) const {
    std::byte* const dst = static_cast<std::byte*>(out.dst) + at * kBytes;
    const std::byte* const residual = static_cast<const std::byte*>(out.residual) + (kHasResidual ? at : 0);
    for (int k = 0; k < columns && k < kSumColumns; k += kPanelColumns) {
      if (columns - k >= kPanelColumns) {
        panel(dst + k * kBytes, sums + k, scale + k, residual + (kHasResidual ? k : 0));
        continue;
      }
      std::byte partial[kPanelColumns * kBytes], residuals[kPanelColumns] = {};
      if (kHasResidual) std::memcpy(residuals, residual + k, columns - k);
      panel(partial, sums + k, scale + k, residuals);
      std::memcpy(dst + k * kBytes, partial, (columns - k) * kBytes);
    }
  }
  void two_rows(const int32_t* sums, size_t at) const {
    row(sums, at);
    row(sums + kSumColumns, at + out.channels);
  }
};

}  // namespace
}  // namespace residual::cpu
