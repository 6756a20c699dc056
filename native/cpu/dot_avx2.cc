// int8 convolutions with AVX2, which has no exact products of bytes: vpmaddwd on 16 bits.
#if defined(__x86_64__)
#include <immintrin.h>

#include "cpu/dot_finish_avx2.h"
#include "cpu/dot_wide_impl.h"
#include "cpu/dot_winograd_kernels.h"

namespace residual::cpu {
namespace {

struct Products {
  static constexpr int kRows = 6;

  // Each vector has the sums of four columns, two for each: of even and of odd pairs of numbers.
  template <int kRowCount>
  static void sum(const WideTask& task) {
    __m256i sums[kRowCount][2];
#pragma GCC unroll 6
    for (int r = 0; r < kRowCount; r++)
#pragma GCC unroll 2
      for (int v = 0; v < 2; v++) sums[r][v] = _mm256_setzero_si256();
    const std::byte* weight = task.weight;
    for (int i = 0; i < task.length; i += 4, weight += kPanelRow) {
      __m256i weights[2];
#pragma GCC unroll 2
      for (int v = 0; v < 2; v++) weights[v] = widened(weight + v * 16);
#pragma GCC unroll 6
      for (int r = 0; r < kRowCount; r++) {
        const __m256i source = repeated(task.source + r * task.row_stride + i);
#pragma GCC unroll 2
        for (int v = 0; v < 2; v++) multiply_add(sums[r][v], source, weights[v]);
      }
    }
#pragma GCC unroll 6
    for (int r = 0; r < kRowCount; r++) {
      const __m256i pairs = _mm256_hadd_epi32(sums[r][0], sums[r][1]);  // columns 0 1 4 5 2 3 6 7
      const __m256i start = load(task.start + r * task.start_stride);
      const __m256i sum = _mm256_add_epi32(_mm256_permute4x64_epi64(pairs, 0xd8), start);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(task.sums + r * kSumColumns), sum);
    }
  }

 private:
  // Left to itself, GCC moves sums between registers and memory.
  static void multiply_add(__m256i& sum, __m256i source, __m256i weight) {
    __m256i products;
    __asm__("vpmaddwd %3, %2, %0\n\tvpaddd %0, %1, %1"
            : "=&x"(products), "+x"(sum)
            : "x"(source), "x"(weight));
  }
  static __m256i load(const int32_t* from) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  }
  static __m256i widened(const std::byte* weight) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(weight)));
  }
  // Four numbers in every quarter.
  static __m256i repeated(const int16_t* source) {
    long long four;
    std::memcpy(&four, source, sizeof four);
    return _mm256_set1_epi64x(four);
  }
};

void run(const DotTask& task) { run_wide<Products>(task, finish_int8<FinishInt8>(task.output)); }

}  // namespace

extern const DotKernels kAvx2Int8Kernels = {"avx2",          /*unit=*/4, /*block_rows=*/24,
                                            /*tile_rows=*/1, run,        &kAvx2WinogradKernels};

}  // namespace residual::cpu
#endif
