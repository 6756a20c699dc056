// int8 convolutions with what every processor of its kind has: SSE2, or NEON.
#include "cpu/dot_finish_plain.h"
#include "cpu/dot_wide_impl.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

namespace residual::cpu {
namespace {

#if defined(__SSE2__)

// Two columns' four numbers, of which pairs are summed.
struct Vector {
  using Sums = __m128i;
  using Numbers = __m128i;

  static Sums zero() { return _mm_setzero_si128(); }
  static void widen(Numbers to[2], const std::byte* weight) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(weight));
    to[0] = _mm_srai_epi16(_mm_unpacklo_epi8(bytes, bytes), 8);
    to[1] = _mm_srai_epi16(_mm_unpackhi_epi8(bytes, bytes), 8);
  }
  static Numbers repeat(const int16_t* source) {
    return _mm_shuffle_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(source)), 0x44);
  }
  static void multiply_add(Sums& sum, Numbers source, Numbers weight) {
    sum = _mm_add_epi32(sum, _mm_madd_epi16(source, weight));
  }
  // to[i] = start[i] and the sums of column i.
  static void store(int32_t* to, const int32_t* start, const Sums sums[4]) {
    for (int i = 0; i < 2; i++) {
      const __m128 a = _mm_castsi128_ps(sums[2 * i]), b = _mm_castsi128_ps(sums[2 * i + 1]);
      const __m128i even = _mm_castps_si128(_mm_shuffle_ps(a, b, 0x88));
      const __m128i odd = _mm_castps_si128(_mm_shuffle_ps(a, b, 0xdd));
      const __m128i begin = _mm_loadu_si128(reinterpret_cast<const __m128i*>(start + 4 * i));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 4 * i),
                       _mm_add_epi32(begin, _mm_add_epi32(even, odd)));
    }
  }
};

#elif defined(__ARM_NEON)

// Two columns' four numbers, each with a sum of its own.
struct Vector {
  struct Sums {
    int32x4_t column[2];
  };
  using Numbers = int16x8_t;

  static Sums zero() { return {{vdupq_n_s32(0), vdupq_n_s32(0)}}; }
  static void widen(Numbers to[2], const std::byte* weight) {
    const int8x16_t bytes = vld1q_s8(reinterpret_cast<const int8_t*>(weight));
    to[0] = vmovl_s8(vget_low_s8(bytes));
    to[1] = vmovl_s8(vget_high_s8(bytes));
  }
  static Numbers repeat(const int16_t* source) {
    const int16x4_t four = vld1_s16(source);
    return vcombine_s16(four, four);
  }
  static void multiply_add(Sums& sum, Numbers source, Numbers weight) {
    sum.column[0] = vmlal_s16(sum.column[0], vget_low_s16(source), vget_low_s16(weight));
    sum.column[1] = vmlal_s16(sum.column[1], vget_high_s16(source), vget_high_s16(weight));
  }
  static void store(int32_t* to, const int32_t* start, const Sums sums[4]) {
    for (int i = 0; i < 2; i++) {
      const int32x4_t first = vpaddq_s32(sums[2 * i].column[0], sums[2 * i].column[1]);
      const int32x4_t second = vpaddq_s32(sums[2 * i + 1].column[0], sums[2 * i + 1].column[1]);
      vst1q_s32(to + 4 * i, vaddq_s32(vld1q_s32(start + 4 * i), vpaddq_s32(first, second)));
    }
  }
};

#else

struct Vector {
  struct Sums {
    int32_t column[2];
  };
  struct Numbers {
    int32_t number[8];
  };

  static Sums zero() { return {}; }
  static void widen(Numbers to[2], const std::byte* weight) {
    for (int i = 0; i < 16; i++) to[i / 8].number[i % 8] = static_cast<int8_t>(weight[i]);
  }
  static Numbers repeat(const int16_t* source) {
    Numbers result;
    for (int i = 0; i < 8; i++) result.number[i] = source[i % 4];
    return result;
  }
  static void multiply_add(Sums& sum, const Numbers& source, const Numbers& weight) {
    for (int i = 0; i < 8; i++) sum.column[i / 4] += source.number[i] * weight.number[i];
  }
  static void store(int32_t* to, const int32_t* start, const Sums sums[4]) {
    for (int i = 0; i < 8; i++) to[i] = start[i] + sums[i / 2].column[i % 2];
  }
};

#endif

struct Products {
  static constexpr int kRows = 3;

  template <int kRowCount>
  static void sum(const WideTask& task) {
    typename Vector::Sums sums[kRowCount][4];
#pragma GCC unroll 3
    for (int r = 0; r < kRowCount; r++)
#pragma GCC unroll 4
      for (int v = 0; v < 4; v++) sums[r][v] = Vector::zero();
    const std::byte* weight = task.weight;
    for (int i = 0; i < task.length; i += 4, weight += kPanelRow) {
      typename Vector::Numbers source[kRowCount];
#pragma GCC unroll 3
      for (int r = 0; r < kRowCount; r++) source[r] = Vector::repeat(task.source + r * task.row_stride + i);
#pragma GCC unroll 2
      for (int half = 0; half < 2; half++) {
        typename Vector::Numbers weights[2];
        Vector::widen(weights, weight + half * 16);
#pragma GCC unroll 3
        for (int r = 0; r < kRowCount; r++)
#pragma GCC unroll 2
          for (int v = 0; v < 2; v++) Vector::multiply_add(sums[r][half * 2 + v], source[r], weights[v]);
      }
    }
#pragma GCC unroll 3
    for (int r = 0; r < kRowCount; r++)
      Vector::store(task.sums + r * kSumColumns, task.start + r * task.start_stride, sums[r]);
  }
};

void run(const DotTask& task) { run_wide<Products>(task, finish_int8<FinishInt8>(task.output)); }

}  // namespace

extern const DotKernels kBaselineInt8Kernels = {"baseline", /*unit=*/4, /*block_rows=*/24, /*tile_rows=*/1,
                                                run};

}  // namespace residual::cpu
