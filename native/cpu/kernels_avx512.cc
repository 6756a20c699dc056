// The kernels with 16 floats a vector: 24 accumulators and 4 weights of 32 registers, broadcasts from memory.
#if defined(__x86_64__)
#define VECTOR_BYTES 64
#define TILE_VECTORS 4
#define KERNELS kAvx512Kernels
#define KERNELS_NAME "avx512"
#include "cpu/kernels_impl.h"
#endif
