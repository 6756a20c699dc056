// The kernels of dot_avx512bf16.cc on emulated instructions.
#define RESIDUAL_EMULATE
#define kAvx512Bf16Kernels kEmulatedAvx512Bf16Kernels
#include "cpu/dot_avx512bf16.cc"
