// The memory of a network's weights: side by side in blocks of huge pages, until all are freed. With 4 KiB
// pages the processor spends a fourteenth of ResNet-50's time on address translation (Zen 3, one thread).
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

namespace residual::cpu {

constexpr size_t kAlignment = 64;

// To be freed with free_pages(). Large blocks go on huge pages if the system has any. Throws OUT_OF_MEMORY.
float* allocate_pages(size_t bytes);
void free_pages(void* pages);

class PageArena {
 public:
  // Aligned to kAlignment and owned by the arena for its lifetime: loading an operation's weights twice takes
  // memory twice. Thread-safe. Throws OUT_OF_MEMORY.
  void* allocate(size_t bytes);

 private:
  struct Free {
    void operator()(char* p) const { free_pages(p); }
  };

  struct Block {
    std::unique_ptr<char, Free> memory;
    size_t size;
    size_t used;  // from its beginning
  };

  std::mutex mutex_;
  // Smaller weights fill the gaps that larger ones leave, and each block is as large as all earlier ones
  // together: otherwise half a huge page is lost per 30 MB.
  std::vector<Block> blocks_;
};

}  // namespace residual::cpu
