// Whether AVX512-BF16 multiplies faster than float32 does: Intel's processors of 2021 to 2025 take two cycles
// where a fused multiply-add takes half a cycle, AMD's do not.
#pragma once

namespace residual::cpu {

// Measured once, in less than a millisecond. Only for processors that have AVX512-BF16.
bool avx512bf16_gains();

}  // namespace residual::cpu
