// Whether 16 bits are enough for sums of products of some rows' bytes and a panel's, found out with AVX2. For
// files that are compiled with it; in an unnamed namespace, as kernels_impl.h explains.
#pragma once

#include <immintrin.h>

#include "cpu/dot_kernels.h"

namespace residual::cpu {
namespace {

constexpr int kGroup = 8;  // bytes of a row whose products are summed together
constexpr int kUnit = 16;  // bytes of a row that are searched together
constexpr int kMostWord = 32767;

// The largest of kBoundedBytes of some rows, two neighbours together, in the order of Bounds::pairs.
struct Largest {
  uint8_t pairs[kBoundedBytes / kGroup][2][2];
};

// The largest of kUnit bytes of some rows, to kUnit / kGroup elements of Largest::pairs.
template <bool kIsSigned>
inline void find_largest(void* to, const std::byte* source, size_t row_stride, int rows) {
  __m128i most = _mm_setzero_si128();
  for (int r = 0; r < rows; r++, source += row_stride) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(source));
    most = _mm_max_epu8(most, kIsSigned ? _mm_xor_si128(bytes, _mm_set1_epi8(-128)) : bytes);
  }
  most = _mm_max_epu8(most, _mm_srli_epi16(most, 8));
  const __m128i order = _mm_setr_epi8(0, 4, 2, 6, 8, 12, 10, 14, 0, 0, 0, 0, 0, 0, 0, 0);
  _mm_storel_epi64(static_cast<__m128i*>(to), _mm_shuffle_epi8(most, order));
}

inline __m256i load_vector(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }

// A bit for each kGroup bytes: whether 16 bits may be too few for sums of four of their products, or of two.
struct Exceeding {
  uint8_t fours, pairs;
};

inline uint8_t any_of_two_words(__m256i words) {
  return static_cast<uint8_t>(
      _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_or_si256(words, _mm256_slli_epi32(words, 16)))));
}

inline Exceeding exceeding(const Bounds& bounds, const Largest& largest) {
  const __m256i sources = load_vector(largest.pairs), weights = load_vector(bounds.pairs);
  const __m256i half = _mm256_set1_epi16(kMostWord / 2), quarter = _mm256_set1_epi16(kMostWord / 4);
  const __m256i odd = _mm256_set1_epi16(-256);
  const __m256i first = _mm256_maddubs_epi16(sources, _mm256_andnot_si256(odd, weights));
  const __m256i second = _mm256_maddubs_epi16(sources, _mm256_and_si256(odd, weights));
  const __m256i both = _mm256_adds_epi16(first, second);
  // The larger source of two pairs is in the lower byte; the other one is multiplied by 0.
  const __m256i larger = _mm256_max_epu8(sources, _mm256_srli_epi16(sources, 8));
  const __m256i fours = _mm256_maddubs_epi16(larger, load_vector(bounds.fours));
  return {
      any_of_two_words(_mm256_and_si256(_mm256_cmpgt_epi16(both, half), _mm256_cmpgt_epi16(fours, quarter))),
      any_of_two_words(_mm256_cmpgt_epi16(_mm256_max_epi16(first, second), half))};
}

}  // namespace
}  // namespace residual::cpu
