// The kernels with 4 floats a vector: what every x86-64 (SSE2) and every AArch64 (NEON) has.
#define VECTOR_BYTES 16
#define TILE_VECTORS 2
#define KERNELS kBaselineKernels
#define KERNELS_NAME "baseline"
#include "cpu/kernels_impl.h"
