// The shared libraries the backend opens, and their order. Each looks up the ones it needs by name, so those
// are opened first, from wherever they were found.
#include "core/backend.h"
#include "cuda/cudart.h"
#include "cuda/cudnn.h"
#include "cuda/nvrtc.h"
#include "cuda/shared_library.h"

namespace residual::core {
namespace {

struct Needed {
  const char* key;
  const char* what;
  const char* remedy;
};

// Opened for others to find; nothing of them is called from here. cuDNN ends the process where cuBLASLt is
// missing, and cannot compile where NVRTC is: so they are looked for first.
constexpr Needed kForOthers[] = {
    {"driver", "The NVIDIA driver",
     "Install the driver for your GPU; `nvidia-smi` shows whether it works. Without a GPU, use device: "
     "'cpu'."},
    {"cublasLt", "cuBLASLt, which cuDNN needs,",
     "Install cuBLAS for CUDA 13, or run `npm run setup:cuda` in the package's folder."},
};

}  // namespace

void open_libraries(const LibraryCandidates& candidates) {
  for (const Needed& needed : kForOthers)
    if (const auto paths = candidates.find(needed.key); paths != candidates.end())
      cuda::SharedLibrary::open(needed.what, paths->second, needed.remedy);
  if (const auto paths = candidates.find("nvrtc"); paths != candidates.end()) cuda::open_nvrtc(paths->second);
  if (const auto paths = candidates.find("cudart"); paths != candidates.end())
    cuda::load_cudart(paths->second);
  if (const auto paths = candidates.find("cudnn"); paths != candidates.end()) cuda::load_cudnn(paths->second);
}

}  // namespace residual::core
