// Owns a block of floats on the CPU: move-only, aligned for the widest vector and the cache line.
#pragma once

#include <cstddef>
#include <memory>

#include "cpu/page_arena.h"

namespace residual::cpu {

class AlignedBuffer {
 public:
  AlignedBuffer() = default;

  // Contents are not set. Throws OUT_OF_MEMORY.
  explicit AlignedBuffer(size_t count) : data_(allocate_pages(count * sizeof(float))), count_(count) {}

  // In memory from `arena`, which must outlive it.
  AlignedBuffer(size_t count, PageArena& arena)
      : data_(static_cast<float*>(arena.allocate(count * sizeof(float))), Free{/*borrowed=*/true}),
        count_(count) {}

  float* data() { return data_.get(); }
  const float* data() const { return data_.get(); }
  size_t size() const { return count_; }
  size_t bytes() const { return count_ * sizeof(float); }

 private:
  struct Free {
    bool borrowed;  // false by default: unique_ptr value-initialises it
    void operator()(float* p) const {
      if (!borrowed) free_pages(p);
    }
  };
  std::unique_ptr<float, Free> data_;
  size_t count_ = 0;
};

}  // namespace residual::cpu
