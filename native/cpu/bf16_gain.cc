#include "cpu/bf16_gain.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <cstdint>

namespace residual::cpu {
namespace {

constexpr int kChains = 12;  // independent sums, enough to hide an instruction's latency
constexpr int kRounds = 1000, kTries = 5;
constexpr double kGain = 1.3;  // products for each one of float32: Winograd's transforms save more of those

struct Bf16Products {
  static constexpr double kNumbers = 2;  // of a lane
  static void multiply_add(__m512& sum, __m512 x) {
    __asm__ volatile("vdpbf16ps %1, %1, %0" : "+v"(sum) : "v"(x));
  }
};

struct Fp32Products {
  static constexpr double kNumbers = 1;
  static void multiply_add(__m512& sum, __m512 x) {
    __asm__ volatile("vfmadd231ps %1, %1, %0" : "+v"(sum) : "v"(x));
  }
};

// Products for each tick of the clock, at best.
template <typename Products>
double rate() {
  const __m512 x = _mm512_set1_ps(1);
  __m512 sums[kChains];
#pragma GCC unroll 12
  for (__m512& sum : sums) sum = x;
  uint64_t least = ~uint64_t(0);
  for (int i = 0; i < kTries; i++) {
    const uint64_t begin = __builtin_ia32_rdtsc();
    for (int round = 0; round < kRounds; round++) {
#pragma GCC unroll 12
      for (__m512& sum : sums) Products::multiply_add(sum, x);
    }
    const uint64_t ticks = __builtin_ia32_rdtsc() - begin;
    if (ticks < least) least = ticks;
  }
  return Products::kNumbers * kChains * kRounds / static_cast<double>(least);
}

}  // namespace

bool avx512bf16_gains() {
  static const bool gains = rate<Bf16Products>() > kGain * rate<Fp32Products>();
  return gains;
}

}  // namespace residual::cpu
#endif
