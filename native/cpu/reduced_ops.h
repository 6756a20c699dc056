// The operations without weights on numbers of fewer bits than float32, and the conversions between them.
#pragma once

#include "cpu/light_ops.h"

namespace residual::cpu {

// Whether an op reads or writes such numbers.
bool is_reduced(const LightOp& light);

// Computes it; softmax, sigmoid and channelGate are none of these. Throws INPUT_OUT_OF_RANGE.
void run_reduced_op(const LightOp& light, const Kernels& kernels, ThreadPool& pool, Workspace& workspace);

// Numbers as float32: what a session returns.
void to_floats(float* dst, const void* src, const core::Value& value, size_t count);

}  // namespace residual::cpu
