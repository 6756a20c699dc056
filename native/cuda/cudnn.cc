#include "cuda/cudnn.h"

#include <mutex>
#include <optional>

#include "cuda/shared_library.h"

namespace residual::cuda {
namespace {

constexpr const char* kRemedy =
    "Install cuDNN 9.12 or later for CUDA 13 and set CUDNN_ROOT to its folder, or run `npm run setup:cuda` "
    "in the package's folder.";
constexpr size_t kCuda = 13;  // the version whose NVRTC and cuBLASLt are opened for cuDNN

// A library is loaded into the process, not into a session: hence the one global of this folder.
std::mutex loading;
std::optional<Cudnn> loaded;

std::string version_text(size_t version) {
  return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

template <typename Function>
void look_up(Function& function, const SharedLibrary& library, const char* name) {
  function = reinterpret_cast<Function>(library.function(name));
}

}  // namespace

void load_cudnn(const std::vector<std::string>& candidates) {
  const std::lock_guard<std::mutex> lock(loading);
  if (loaded) return;
  const SharedLibrary library = SharedLibrary::open("cuDNN", candidates, kRemedy);
  Cudnn table;
  look_up(table.GetVersion, library, "cudnnGetVersion");
  const size_t version = table.GetVersion();
  if (version < kMinCudnnVersion)
    throw core::Error(core::ErrorCode::kBackendUnavailable,
                      library.path() + " is cuDNN " + version_text(version) + "; residual needs " +
                          version_text(kMinCudnnVersion) + " or later. " + kRemedy);
  decltype(&::cudnnGetCudartVersion) cudart_version;
  look_up(cudart_version, library, "cudnnGetCudartVersion");
  if (const size_t cuda = cudart_version() / 1000; cuda != kCuda)
    throw core::Error(core::ErrorCode::kBackendUnavailable,
                      library.path() + " is cuDNN " + version_text(version) + " for CUDA " +
                          std::to_string(cuda) + "; residual needs one for CUDA " + std::to_string(kCuda) +
                          ". " + kRemedy);
  look_up(table.GetErrorString, library, "cudnnGetErrorString");
  look_up(table.GetLastErrorString, library, "cudnnGetLastErrorString");
  look_up(table.Create, library, "cudnnCreate");
  look_up(table.Destroy, library, "cudnnDestroy");
  look_up(table.SetStream, library, "cudnnSetStream");
  look_up(table.BackendCreateDescriptor, library, "cudnnBackendCreateDescriptor");
  look_up(table.BackendDestroyDescriptor, library, "cudnnBackendDestroyDescriptor");
  look_up(table.BackendSetAttribute, library, "cudnnBackendSetAttribute");
  look_up(table.BackendGetAttribute, library, "cudnnBackendGetAttribute");
  look_up(table.BackendFinalize, library, "cudnnBackendFinalize");
  look_up(table.BackendExecute, library, "cudnnBackendExecute");
  loaded = table;
}

const Cudnn& cudnn() {
  const std::lock_guard<std::mutex> lock(loading);
  if (!loaded) throw core::Error(core::ErrorCode::kBackendUnavailable, "cuDNN has not been loaded.");
  return *loaded;
}

void replace_cudnn(const Cudnn& table) {
  const std::lock_guard<std::mutex> lock(loading);
  loaded = table;
}

std::string cudnn_version() { return version_text(cudnn().GetVersion()); }

void check(cudnnStatus_t status, const char* what) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  char reason[1024] = "";
  cudnn().GetLastErrorString(reason, sizeof reason);  // of this thread
  const bool memory = status == CUDNN_STATUS_ALLOC_FAILED ||
                      status == CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED ||
                      status == CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED;
  throw core::Error(memory ? core::ErrorCode::kOutOfMemory : core::ErrorCode::kInternal,
                    std::string("cuDNN: ") + what + ": " + cudnn().GetErrorString(status) +
                        (reason[0] ? std::string(": ") + reason : std::string()));
}

}  // namespace residual::cuda
