// The kernels of dot_avxvnni.cc on emulated instructions.
#define RESIDUAL_EMULATE
#define kAvxVnniKernels kEmulatedAvxVnniKernels
#include "cpu/dot_avxvnni.cc"
