// The part of cuDNN we use: its graph API, from a library found at run time.
#pragma once

#include <cudnn_graph.h>

#include <string>
#include <vector>

#include "core/error.h"

namespace residual::cuda {

constexpr size_t kMinCudnnVersion = 91200;  // the first for CUDA 13; lib/runtime/cuda/libraries.ts has it too

// cuDNN's functions, named without the prefix. A table rather than linking lets the addon load on machines
// without cuDNN and say what is missing.
struct Cudnn {
  decltype(&::cudnnGetVersion) GetVersion;
  decltype(&::cudnnGetErrorString) GetErrorString;
  decltype(&::cudnnGetLastErrorString) GetLastErrorString;
  decltype(&::cudnnCreate) Create;
  decltype(&::cudnnDestroy) Destroy;
  decltype(&::cudnnSetStream) SetStream;
  decltype(&::cudnnBackendCreateDescriptor) BackendCreateDescriptor;
  decltype(&::cudnnBackendDestroyDescriptor) BackendDestroyDescriptor;
  decltype(&::cudnnBackendSetAttribute) BackendSetAttribute;
  decltype(&::cudnnBackendGetAttribute) BackendGetAttribute;
  decltype(&::cudnnBackendFinalize) BackendFinalize;
  decltype(&::cudnnBackendExecute) BackendExecute;
};

// Opens cuDNN once per process; later calls do nothing. `candidates` are paths of libcudnn.so.9, best first.
// Throws BACKEND_UNAVAILABLE if none opens, or the first to open is older than kMinCudnnVersion or for
// another CUDA.
void load_cudnn(const std::vector<std::string>& candidates);

// The functions. Throws BACKEND_UNAVAILABLE before load_cudnn has succeeded.
const Cudnn& cudnn();

// Replaces the table: the twin makes calls fail this way.
void replace_cudnn(const Cudnn& table);

std::string cudnn_version();  // "9.24.0"

// Throws INTERNAL or OUT_OF_MEMORY with cuDNN's own precise explanation, unless `status` is a success.
void check(cudnnStatus_t status, const char* what);

}  // namespace residual::cuda
