#include "cpu/page_arena.h"

#include <algorithm>
#include <cstdlib>
#include <string>

#include "core/error.h"

#if defined(__linux__)
#include <sys/mman.h>
#elif defined(_WIN32)
#include <malloc.h>
#endif

namespace residual::cpu {
namespace {

constexpr size_t kHugePage = size_t(2) << 20;
// The unused part of a block is never touched, so it costs only the rest of its last page, and addresses.
// Small networks get small blocks.
constexpr size_t kLeastBlock = size_t(8) << 20, kMostBlock = size_t(128) << 20;

size_t round_up(size_t bytes, size_t multiple) { return (bytes + multiple - 1) / multiple * multiple; }

// `bytes` is a multiple of `alignment`.
void* allocate_aligned(size_t alignment, size_t bytes) {
#if defined(_WIN32)
  return _aligned_malloc(bytes, alignment);
#else
  return std::aligned_alloc(alignment, bytes);
#endif
}

}  // namespace

float* allocate_pages(size_t bytes) {
  const size_t alignment = bytes >= kHugePage ? kHugePage : kAlignment;
  const size_t rounded = round_up(std::max(bytes, size_t(1)), alignment);
  void* const data = allocate_aligned(alignment, rounded);
  if (!data)
    throw core::Error(core::ErrorCode::kOutOfMemory, "Could not allocate " + std::to_string(bytes) +
                                                         " bytes. Use smaller batches or images.");
#if defined(__linux__)
  if (alignment == kHugePage) madvise(data, rounded, MADV_HUGEPAGE);  // only a hint: nothing depends on it
#endif
  return static_cast<float*>(data);
}

void free_pages(void* pages) {
#if defined(_WIN32)
  _aligned_free(pages);
#else
  std::free(pages);
#endif
}

void* PageArena::allocate(size_t bytes) {
  const size_t rounded = round_up(bytes, kAlignment);
  const std::lock_guard<std::mutex> lock(mutex_);
  auto block = std::find_if(blocks_.begin(), blocks_.end(),
                            [&](const Block& each) { return rounded <= each.size - each.used; });
  if (block == blocks_.end()) {
    size_t all = 0;
    for (const Block& each : blocks_) all += each.size;
    const size_t size = round_up(std::max(rounded, std::clamp(all, kLeastBlock, kMostBlock)), kHugePage);
    std::unique_ptr<char, Free> memory(reinterpret_cast<char*>(allocate_pages(size)));
    block = blocks_.insert(block, Block{std::move(memory), size, 0});
  }
  void* const result = block->memory.get() + block->used;
  block->used += rounded;
  return result;
}

}  // namespace residual::cpu
