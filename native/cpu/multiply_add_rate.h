// Measures how many multiply-adds per second this machine can do at all, to compare a convolution's speed
// with.
#pragma once

#include "cpu/kernels.h"

namespace residual::cpu {

// FLOP/s in registers on `threads` threads at once, measured for about so long.
double multiply_add_rate(const Kernels& kernels, int threads, double milliseconds);

}  // namespace residual::cpu
