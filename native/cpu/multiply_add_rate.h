// Measures how many multiply-adds per second this machine can do at all, to compare a convolution's speed
// with.
#pragma once

#include "core/value.h"
#include "cpu/isa.h"

namespace residual::cpu {

// Operations per second in registers, a multiply-add counting as two, on `threads` threads at once, measured
// for about so long: with what find_peak_loop() finds, else with fp32's kernels.
double multiply_add_rate(const Isa& isa, core::Precision precision, int threads, double milliseconds);

}  // namespace residual::cpu
