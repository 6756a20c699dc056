// How many multiply-adds a second can this machine do at all? What a convolution's speed is set beside.
#pragma once

#include "cpu/kernels.h"

namespace residual::cpu {

// FLOP/s in registers on `threads` threads at once, measured for about so long.
double multiply_add_rate(const Kernels& kernels, int threads, double milliseconds);

}  // namespace residual::cpu
