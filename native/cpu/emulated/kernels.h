// The tables of kernels on emulated instructions, which only addons for tests have.
#pragma once

#include "cpu/dot_kernels.h"

namespace residual::cpu {

extern const DotKernels kEmulatedAmxInt8Kernels;
extern const DotKernels kEmulatedAmxBf16Kernels;
extern const DotKernels kEmulatedVnniKernels;
extern const DotKernels kEmulatedAvx512Bf16Kernels;
extern const DotKernels kEmulatedAvxVnniKernels;

}  // namespace residual::cpu
