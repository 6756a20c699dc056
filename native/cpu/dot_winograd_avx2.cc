// Winograd's transforms of int8 convolutions with AVX2: vpmaddwd multiplies pairs of int16.
#if defined(__x86_64__)
#include "cpu/dot_avx_impl.h"
#include "cpu/dot_winograd_impl.h"

namespace residual::cpu {
namespace {

struct WordProducts {
  static constexpr bool kFlips = false;
  static __m256i repeated(const std::byte* source) { return repeated_dword(source); }
  // Left to itself, GCC moves sums between registers and memory.
  static void multiply_add(__m256i& sum, __m256i source, __m256i weight) {
    __m256i products;
    __asm__("vpmaddwd %3, %2, %0\n\tvpaddd %0, %1, %1"
            : "=&x"(products), "+x"(sum)
            : "x"(source), "x"(weight));
  }
};

void run(const DotWinogradTask& task) {
  run_winograd_in_registers<AvxRegisters<WordProducts>, /*kLanes=*/8>(
      task, finish_int8<FinishInt8>(task.dot.output));
}

}  // namespace

extern const DotWinogradKernels kAvx2WinogradKernels = {/*product_cost=*/1, /*most_weights=*/1024 * 1024,
                                                        /*least_patches=*/12, winograd_input</*kLanes=*/16>,
                                                        run};

}  // namespace residual::cpu
#endif
