// Memory an operation needs only while it runs, allocated before the first run.
#pragma once

#include <algorithm>
#include <vector>

#include "cpu/aligned_buffer.h"

namespace residual::cpu {

struct WorkspaceSize {
  size_t shared = 0;  // bytes shared by all workers
  size_t per_worker = 0;

  WorkspaceSize max(const WorkspaceSize& other) const {
    return {std::max(shared, other.shared), std::max(per_worker, other.per_worker)};
  }
};

class Workspace {
 public:
  Workspace() = default;
  Workspace(int workers, const WorkspaceSize& size) : shared_(size.shared / sizeof(float) + 1) {
    for (int worker = 0; worker < workers; worker++)
      buffers_.emplace_back(size.per_worker / sizeof(float) + 1);
  }

  float* shared() { return shared_.data(); }
  void* of(int worker) { return buffers_[worker].data(); }

  size_t bytes() const {
    size_t total = shared_.bytes();
    for (const AlignedBuffer& buffer : buffers_) total += buffer.bytes();
    return total;
  }

 private:
  AlignedBuffer shared_;
  std::vector<AlignedBuffer> buffers_;
};

}  // namespace residual::cpu
