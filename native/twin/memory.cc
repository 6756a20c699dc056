#include "twin/memory.h"

#include <algorithm>
#include <cstdio>
#include <set>

#include "core/error.h"

namespace residual::twin {
namespace {

constexpr size_t kFence = 256;  // bytes on either side, and the alignment
constexpr std::byte kFenceByte{0xa5};
constexpr std::byte kPoison{0xff};

[[noreturn]] void fail(const std::string& what) {
  throw core::Error(core::ErrorCode::kInternal, "twin: " + what + ".");
}

const char* space_name(Space space) {
  return space == Space::kDevice ? "device memory" : "pinned host memory";
}

// A leak keeps its device, and thereby the memory, alive: no destructor would report it.
std::mutex all_mutex;
std::set<const Memory*> all;

}  // namespace

Memory::Memory() {
  const std::lock_guard<std::mutex> lock(all_mutex);
  all.insert(this);
}

Memory::~Memory() {
  const std::lock_guard<std::mutex> lock(all_mutex);
  all.erase(this);
}

std::string Memory::in_use() {
  const std::lock_guard<std::mutex> lock(all_mutex);
  size_t total = 0;
  std::string blocks;
  for (const Memory* memory : all) {
    const std::lock_guard<std::mutex> memory_lock(memory->mutex_);
    for (const auto& [data, block] : memory->blocks_) {
      if (!block.live) continue;
      total += block.bytes;
      blocks += (blocks.empty() ? ": " : ", ") + std::to_string(block.bytes) + " of '" + block.name +
                "', last touched by " + block.user;
    }
  }
  return std::to_string(total) + " bytes in use" + blocks;
}

std::byte* Memory::allocate(Space space, size_t bytes, const std::string& name) {
  Block block{space,
              bytes,
              name,
              true,
              "nobody",
              std::vector<bool>(bytes, false),
              std::make_unique<std::byte[]>(bytes + 3 * kFence)};
  const auto begin = reinterpret_cast<uintptr_t>(block.storage.get()) + kFence;
  auto* data = reinterpret_cast<std::byte*>((begin + kFence - 1) / kFence * kFence);
  std::fill(block.storage.get(), block.storage.get() + bytes + 3 * kFence, kFenceByte);
  std::fill(data, data + bytes, kPoison);
  const std::lock_guard<std::mutex> lock(mutex_);
  for (auto it = blocks_.begin(); it != blocks_.end();) {  // forget freed blocks whose addresses are reused
    const bool overlaps = it->first < data + bytes + kFence && data < it->first + it->second.bytes + kFence;
    it = !it->second.live && overlaps ? blocks_.erase(it) : std::next(it);
  }
  blocks_[data] = std::move(block);
  return data;
}

void Memory::free(std::byte* data) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = blocks_.find(data);
  if (found == blocks_.end() || !found->second.live) {
    std::fprintf(stderr, "twin: freed what was not allocated\n");
    return;
  }
  try {
    check_fence(data, found->second, "someone before the block was freed");
  } catch (const core::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());  // destructors cannot throw
  }
  found->second.live = false;
  found->second.storage.reset();
  found->second.written = {};
}

Memory::Blocks::const_iterator Memory::block_of(const void* data) const {
  const auto* at = static_cast<const std::byte*>(data);
  const auto next = blocks_.upper_bound(at);
  if (next == blocks_.begin()) return blocks_.end();
  const auto it = std::prev(next);
  return at < it->first + std::max<size_t>(it->second.bytes, 1) ? it : blocks_.end();
}

std::string Memory::name_of(const void* data) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto it = block_of(data);
  return it == blocks_.end() ? "" : it->second.name;
}

Memory::Place Memory::find(Space space, const void* data, size_t bytes, const std::string& user) const {
  const std::string touches = user + " touches ";
  const auto it = block_of(data);
  if (it == blocks_.end())
    fail(touches + "memory that is neither device nor pinned memory, where " + space_name(space) +
         " is expected");
  const Block& block = it->second;
  block.user = user;
  if (!block.live) fail(touches + "'" + block.name + "' after it was freed");
  if (block.space != space)
    fail(touches + "'" + block.name + "', " + space_name(block.space) + ", where " + space_name(space) +
         " is expected");
  const size_t offset = static_cast<const std::byte*>(data) - it->first;
  if (bytes > block.bytes - offset)
    fail(touches + std::to_string(bytes) + " bytes at " + std::to_string(offset) + " of '" + block.name +
         "', which has " + std::to_string(block.bytes));
  return {&block, offset};
}

void Memory::read(Space space, const void* data, size_t bytes, const std::string& user) const {
  if (bytes == 0) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto [block, offset] = find(space, data, bytes, user);
  const auto begin = block->written.begin() + offset;
  const auto hole = std::find(begin, begin + bytes, false);
  if (hole != begin + bytes)
    fail(user + " reads byte " + std::to_string(hole - block->written.begin()) + " of '" + block->name +
         "', which was never written");
}

void Memory::write(Space space, const void* data, size_t bytes, const std::string& user) {
  if (bytes == 0) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto [block, offset] = find(space, data, bytes, user);
  auto& written = block->written;
  std::fill(written.begin() + offset, written.begin() + offset + bytes, true);
}

void Memory::poison(void* data, size_t bytes, const std::string& user) {
  if (bytes == 0) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto [block, offset] = find(Space::kDevice, data, bytes, user);
  auto& written = block->written;
  std::fill(written.begin() + offset, written.begin() + offset + bytes, false);
  std::fill_n(static_cast<std::byte*>(data), bytes, kPoison);
}

void Memory::check_fence(const std::byte* data, const Block& block, const std::string& user) const {
  const auto whole = [](const std::byte* from) {
    return std::all_of(from, from + kFence, [](std::byte b) { return b == kFenceByte; });
  };
  if (!whole(data - kFence) || !whole(data + block.bytes))
    fail(user + " wrote outside '" + block.name + "' (" + std::to_string(block.bytes) + " bytes)");
}

void Memory::check_fences(const std::string& user) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const auto& [data, block] : blocks_)
    if (block.live) check_fence(data, block, user);
}

size_t Memory::live_bytes() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  size_t total = 0;
  for (const auto& [data, block] : blocks_)
    if (block.live) total += block.bytes;
  return total;
}

void Accesses::add(const void* data, size_t bytes, const std::string& user, bool writes) {
  if (bytes > 0) all_.push_back({static_cast<const std::byte*>(data), bytes, user, writes});
}

void Accesses::check() const {
  for (const Access& written : all_) {
    if (!written.writes) continue;
    for (const Access& other : all_)
      if (&other != &written && other.begin < written.begin + written.bytes &&
          written.begin < other.begin + other.bytes)
        fail(written.user + " is written over " + other.user + " in '" + memory_.name_of(other.begin) + "'");
  }
  for (const Access& access : all_)
    if (!access.writes) memory_.read(Space::kDevice, access.begin, access.bytes, access.user);
  for (const Access& access : all_)
    if (access.writes) memory_.write(Space::kDevice, access.begin, access.bytes, access.user);
}

}  // namespace residual::twin
