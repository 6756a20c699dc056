// The kernels of dot_vnni.cc on emulated instructions.
#define RESIDUAL_EMULATE
#define kVnniKernels kEmulatedVnniKernels
#include "cpu/dot_vnni.cc"
