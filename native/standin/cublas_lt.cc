// A stand-in for libcublasLt.so.13 on machines without a GPU. While it compiles plans, cuDNN asks cuBLASLt
// only for its version, and ends the process if the library is missing. Plans that need the real library are
// refused.
#include <cstddef>

extern "C" __attribute__((visibility("default"))) size_t cublasLtGetVersion() { return 130000; }
extern "C" __attribute__((visibility("default"))) int cublasLtCreate(void**) { return 1; }  // NOT_INITIALIZED
