#include "cuda/cudart.h"

#include <mutex>
#include <optional>

#include "core/error.h"
#include "cuda/shared_library.h"

namespace residual::cuda {
namespace {

constexpr const char* kRemedy =
    "Install the CUDA 13 runtime and set CUDA_HOME to its folder, or run `npm run setup:cuda` in the "
    "package's folder.";

// Global, as for cuDNN: a library is loaded into the process.
std::mutex loading;
std::optional<Cudart> loaded;

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

// A newer minor version of the runtime works with an older driver of the same major version.
void check_versions(const Cudart& table, const std::string& path) {
  int runtime = 0, driver = 0;
  table.RuntimeGetVersion(&runtime);
  table.DriverGetVersion(&driver);
  if (runtime / 1000 != CUDART_VERSION / 1000)
    throw core::Error(core::ErrorCode::kBackendUnavailable,
                      path + " is the CUDA runtime " + version_text(runtime) + "; residual was built for " +
                          version_text(CUDART_VERSION) + ". " + kRemedy);
  if (driver == 0)
    throw core::Error(core::ErrorCode::kBackendUnavailable,
                      "There is no NVIDIA driver: libcuda.so.1 cannot be loaded. Install the driver for your "
                      "GPU; `nvidia-smi` shows whether it works.");
  if (driver / 1000 < runtime / 1000)
    throw core::Error(core::ErrorCode::kBackendUnavailable,
                      "The NVIDIA driver supports CUDA " + version_text(driver) + " but the runtime " + path +
                          " is " + version_text(runtime) + ". Install a driver for CUDA " +
                          std::to_string(runtime / 1000) +
                          " (580 or later); `nvidia-smi` shows the one in use.");
}

// Those after which, by driver_types.h, the process must be relaunched, and others that nothing after them
// can be trusted after: memory or a link that failed, and a context that is gone or cannot be had.
bool is_sticky(cudaError_t status) {
  switch (status) {
    case cudaErrorContained:
    case cudaErrorIllegalAddress:
    case cudaErrorIllegalInstruction:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorMisalignedAddress:
    case cudaErrorHardwareStackError:
    case cudaErrorLaunchFailure:
    case cudaErrorLaunchTimeout:
    case cudaErrorTensorMemoryLeak:
    case cudaErrorMpsClientTerminated:
    case cudaErrorExternalDevice:
    case cudaErrorAssert:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorMpsConnectionFailed:
    case cudaErrorDevicesUnavailable:
    case cudaErrorContextIsDestroyed:
    case cudaErrorUnknown:
      return true;
    default:
      return false;
  }
}

}  // namespace

void load_cudart(const std::vector<std::string>& candidates) {
  const std::lock_guard<std::mutex> lock(loading);
  if (loaded) return;
  const SharedLibrary library = SharedLibrary::open("The CUDA runtime", candidates, kRemedy);
  Cudart table;
#define RESIDUAL_CUDART_LOOK_UP(name) \
  table.name = reinterpret_cast<decltype(table.name)>(library.function("cuda" #name));
  RESIDUAL_CUDART_FUNCTIONS(RESIDUAL_CUDART_LOOK_UP)
#undef RESIDUAL_CUDART_LOOK_UP
  check_versions(table, library.path());
  loaded = table;
}

const Cudart& cudart() {
  const std::lock_guard<std::mutex> lock(loading);
  if (!loaded)
    throw core::Error(core::ErrorCode::kBackendUnavailable, "The CUDA runtime has not been loaded.");
  return *loaded;
}

void check(cudaError_t status, const std::string& what) {
  if (status == cudaSuccess) return;
  const std::string reason =
      std::string(cudart().GetErrorName(status)) + ": " + cudart().GetErrorString(status);
  cudart().GetLastError();  // so that the next call does not see this error again, if it can be cleared
  if (status == cudaErrorMemoryAllocation)
    throw core::Error(core::ErrorCode::kOutOfMemory, "CUDA: " + what + ": " + reason);
  if (is_sticky(status))
    throw core::Error(core::ErrorCode::kDeviceLost,
                      "This process has lost the GPU: " + what + ": " + reason +
                          ". Its sessions cannot continue; restart the process.");
  throw core::Error(core::ErrorCode::kInternal, "CUDA: " + what + ": " + reason);
}

}  // namespace residual::cuda
