#include "cuda/device.h"

namespace residual::cuda {
namespace {

std::string megabytes(size_t bytes) { return std::to_string((bytes + (1 << 20) - 1) >> 20) + " MiB"; }

}  // namespace

core::Error no_room(const DeviceInfo& device, const std::string& name, size_t bytes, size_t free_bytes) {
  return {core::ErrorCode::kOutOfMemory,
          "GPU " + std::to_string(device.index) + " is out of memory for " + name + ": it takes " +
              megabytes(bytes) + ", and " + megabytes(free_bytes) + " of " + megabytes(device.total_bytes) +
              " are free. Use smaller batches (maxBatch) or close other sessions."};
}

}  // namespace residual::cuda
