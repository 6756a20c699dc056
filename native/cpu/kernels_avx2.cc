// The kernels with 8 floats a vector and fused multiply-add: 12 accumulators, 2 weights, 2 broadcasts of 16
// registers.
#if defined(__x86_64__)
#define VECTOR_BYTES 32
#define TILE_VECTORS 2
#define KERNELS kAvx2Kernels
#define KERNELS_NAME "avx2"
#include "cpu/kernels_impl.h"
#endif
