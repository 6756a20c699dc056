// The kernels of dot_amx_bf16.cc on emulated instructions.
#define RESIDUAL_EMULATE
#define kAmxBf16Kernels kEmulatedAmxBf16Kernels
#include "cpu/dot_amx_bf16.cc"
