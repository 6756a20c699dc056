// Where do workers keep what they need for one task? In memory of their own, allocated before the first run.
#pragma once

#include <vector>

#include "cpu/aligned_buffer.h"

namespace residual::cpu {

class Workspace {
 public:
  Workspace() = default;
  Workspace(int workers, size_t bytes_per_worker) {
    for (int worker = 0; worker < workers; worker++)
      buffers_.emplace_back(bytes_per_worker / sizeof(float) + 1);
  }

  void* of(int worker) { return buffers_[worker].data(); }
  size_t bytes() const { return buffers_.empty() ? 0 : buffers_.size() * buffers_.front().bytes(); }

 private:
  std::vector<AlignedBuffer> buffers_;
};

}  // namespace residual::cpu
