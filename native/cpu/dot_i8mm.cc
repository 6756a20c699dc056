// int8 convolutions with AArch64's matrix products of bytes (FEAT_I8MM).
#if defined(__aarch64__)
#include "cpu/dot_arm_impl.h"

namespace residual::cpu {
namespace {

struct UnsignedProducts {
  static void multiply_add(int32x4_t& sum, int32x4_t source, int32x4_t weight) {
    sum = vusmmlaq_s32(sum, vreinterpretq_u8_s32(source), vreinterpretq_s8_s32(weight));
  }
};

struct SignedProducts {
  static void multiply_add(int32x4_t& sum, int32x4_t source, int32x4_t weight) {
    sum = vmmlaq_s32(sum, vreinterpretq_s8_s32(source), vreinterpretq_s8_s32(weight));
  }
};

void run(const DotTask& task) {
  const FinishRows finish = finish_int8<FinishInt8>(task.output);
  task.is_signed ? run_in_registers<MatrixRegisters<SignedProducts>>(task, finish)
                 : run_in_registers<MatrixRegisters<UnsignedProducts>>(task, finish);
}

}  // namespace

extern const DotKernels kI8mmKernels = {"i8mm", /*unit=*/4, /*block_rows=*/24, /*tile_rows=*/1, run};

}  // namespace residual::cpu
#endif
