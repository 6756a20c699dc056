// Who owns a block of floats on the CPU? This: aligned for the widest vector and the cache line, move-only.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <string>

#include "core/error.h"

namespace residual::cpu {

constexpr size_t kAlignment = 64;

class AlignedBuffer {
 public:
  AlignedBuffer() = default;

  // Contents are not set. Throws OUT_OF_MEMORY.
  explicit AlignedBuffer(size_t count) : count_(count) {
    const size_t bytes = (count * sizeof(float) + kAlignment - 1) / kAlignment * kAlignment;
    data_.reset(static_cast<float*>(std::aligned_alloc(kAlignment, bytes ? bytes : kAlignment)));
    if (!data_)
      throw core::Error(core::ErrorCode::kOutOfMemory, "Could not allocate " + std::to_string(bytes) +
                                                           " bytes. Use smaller batches or pictures.");
  }

  float* data() { return data_.get(); }
  const float* data() const { return data_.get(); }
  size_t size() const { return count_; }
  size_t bytes() const { return count_ * sizeof(float); }

 private:
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  std::unique_ptr<float, Free> data_;
  size_t count_ = 0;
};

}  // namespace residual::cpu
