// bf16 convolutions with AArch64's matrix products of bf16 (FEAT_BF16).
#if defined(__aarch64__)
#include "cpu/dot_arm_impl.h"

namespace residual::cpu {
namespace {

struct Products {
  static void multiply_add(int32x4_t& sum, int32x4_t source, int32x4_t weight) {
    sum = vreinterpretq_s32_f32(vbfmmlaq_f32(vreinterpretq_f32_s32(sum), vreinterpretq_bf16_s32(source),
                                             vreinterpretq_bf16_s32(weight)));
  }
};

void run(const DotTask& task) {
  run_in_registers<MatrixRegisters<Products>>(task, finish_bf16<FinishBf16>(task.output));
}

}  // namespace

extern const DotKernels kBfmmlaKernels = {"bfmmla", /*unit=*/4, /*block_rows=*/24, /*tile_rows=*/1, run};

}  // namespace residual::cpu
#endif
