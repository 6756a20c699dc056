// The shared libraries the twin opens: cuDNN and NVRTC from wherever they are, and the stand-ins next to the
// twin even where there is a driver, because nothing here may touch a GPU.
#include <dlfcn.h>

#include <cstdlib>

#include "core/backend.h"
#include "core/error.h"
#include "cuda/cudnn.h"
#include "cuda/nvrtc.h"
#include "cuda/shared_library.h"
#include "twin/cudnn_faults.h"
#include "twin/watch.h"

namespace residual::core {
namespace {

std::string own_folder() {
  Dl_info info{};
  dladdr(reinterpret_cast<const void*>(&own_folder), &info);
  const std::string path = info.dli_fname ? info.dli_fname : "";
  return path.substr(0, path.rfind('/') + 1);
}

}  // namespace

void open_libraries(const LibraryCandidates& candidates) {
  const char* hold = std::getenv("RESIDUAL_TWIN_HOLD");
  twin::watch("", hold ? hold : "");
  if (!twin::pass_hold()) throw Error(ErrorCode::kInternal, "twin: the libraries are held up.");
  for (const char* name : {"libcuda.so.1", "libcublasLt.so.13"})
    cuda::SharedLibrary::open("A stand-in", {own_folder() + "standin/" + name}, "Run `npm run build:cuda`.");
  cuda::open_nvrtc(candidates.at("nvrtc"));
  cuda::load_cudnn(candidates.at("cudnn"));
  twin::stand_before_cudnn();
}

}  // namespace residual::core
