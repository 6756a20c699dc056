// The kernels of dot_amx_int8.cc on emulated instructions.
#define RESIDUAL_EMULATE
#define kAmxInt8Kernels kEmulatedAmxInt8Kernels
#include "cpu/dot_amx_int8.cc"
