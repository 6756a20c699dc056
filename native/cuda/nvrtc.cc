#include "cuda/nvrtc.h"

#include <dlfcn.h>

#include "cuda/shared_library.h"

namespace residual::cuda {

void open_nvrtc(const std::vector<std::string>& candidates) {
  const SharedLibrary library =
      SharedLibrary::open("NVRTC, which cuDNN compiles its kernels with,", candidates,
                          "Install NVRTC for CUDA 13, or run `npm run setup:cuda` in the package's folder.");
  // NVRTC opens its builtins by name when it first compiles. In CUDA 13.0's wheels it has no search path and
  // would not find the ones next to it, and cuDNN would have no engine for most graphs.
  void* const function = library.function("nvrtcVersion");
  int major = 0, minor = 0;
  reinterpret_cast<int (*)(int*, int*)>(function)(&major, &minor);
  Dl_info info{};
  if (dladdr(function, &info) == 0 || !info.dli_fname) return;
  const std::string path = info.dli_fname;
  SharedLibrary::open_if_there(path.substr(0, path.rfind('/') + 1) + "libnvrtc-builtins.so." +
                               std::to_string(major) + "." + std::to_string(minor));
}

}  // namespace residual::cuda
