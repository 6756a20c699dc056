// The loop around a multiply-add of vectors. Included once per instruction set by a file that is compiled
// with that set's flags; in an unnamed namespace for the reason kernels_impl.h gives.

#include "cpu/kernels.h"
#include "cpu/peak.h"

namespace residual::cpu {
namespace {

// Op::Vec is a vector; Op::step(sum, a, b) returns sum + a * b, summed over groups of neighbours.
template <typename Op>
int32_t run_chains(size_t rounds) {
  using Vec = typename Op::Vec;
  Vec sums[kPeakChains], a, b;
  __builtin_memset(sums, 0, sizeof sums);
  __builtin_memset(&a, 1, sizeof a);
  __builtin_memset(&b, 1, sizeof b);
  for (size_t round = 0; round < rounds; round++) {
#pragma GCC unroll 12
    for (int i = 0; i < kPeakChains; i++) {
#if defined(__x86_64__)
      __asm__("" : "+x"(a));  // may have changed: no product can be computed once for all rounds
#else
      __asm__("" : "+w"(a));
#endif
      sums[i] = Op::step(sums[i], a, b);
    }
  }
  int32_t words[sizeof sums / 4], total = 0;
  __builtin_memcpy(words, sums, sizeof sums);
  for (const int32_t word : words) total ^= word;
  return total;
}

template <typename Op>
constexpr PeakLoop chains_of(int multiply_adds_per_step) {
  return {run_chains<Op>, double(kPeakChains) * multiply_adds_per_step};
}

}  // namespace
}  // namespace residual::cpu
