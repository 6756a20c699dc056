// The twin's "device memory": blocks of host memory, fenced, filled with poison, and known by address, so
// that every misuse is caught.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace residual::twin {

enum class Space { kDevice, kPinned };

class Memory {
 public:
  Memory();
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  // Filled with poison: bytes that are NaN in every floating type. `name` appears in errors.
  std::byte* allocate(Space space, size_t bytes, const std::string& name);

  // Checks the fences.
  void free(std::byte* data);

  // Each throws core::Error INTERNAL, naming `user` and the block, unless [data, data + bytes) lies in one
  // live block of `space`; read also throws if any of it was never written.
  void read(Space space, const void* data, size_t bytes, const std::string& user) const;
  void write(Space space, const void* data, size_t bytes, const std::string& user);

  // Marks the memory as never written.
  void poison(void* data, size_t bytes, const std::string& user);

  // Checks every fence; `user` is whoever ran last.
  void check_fences(const std::string& user) const;

  // The name of the block that contains `data`; empty if there is none.
  std::string name_of(const void* data) const;

  size_t live_bytes() const;

  // For all memories of the process: "0 bytes in use", or the total and then each block's size, its name and
  // who touched it last.
  static std::string in_use();

 private:
  struct Block {
    Space space;
    size_t bytes = 0;
    std::string name;
    bool live = true;
    mutable std::string user = "nobody";   // who touched it last
    mutable std::vector<bool> written;     // by byte
    std::unique_ptr<std::byte[]> storage;  // fence, data, fence; gone when freed
  };
  struct Place {
    const Block* block;
    size_t offset;
  };
  using Blocks = std::map<const std::byte*, Block>;
  Blocks::const_iterator block_of(const void* data) const;  // end() if there is none
  Place find(Space space, const void* data, size_t bytes, const std::string& user) const;
  void check_fence(const std::byte* data, const Block& block, const std::string& user) const;

  mutable std::mutex mutex_;
  Blocks blocks_;  // by the address of their data; freed ones stay until the address is reused
};

// The device memory that one plan or kernel accesses: recorded first, then checked as a whole.
class Accesses {
 public:
  explicit Accesses(Memory& memory) : memory_(memory) {}

  void read(const void* data, size_t bytes, const std::string& user) { add(data, bytes, user, false); }
  void write(void* data, size_t bytes, const std::string& user) { add(data, bytes, user, true); }

  // Like Memory::read and write, but INTERNAL also if a written range overlaps anything else read or written:
  // the order is undefined.
  void check() const;

 private:
  struct Access {
    const std::byte* begin;
    size_t bytes;
    std::string user;
    bool writes;
  };
  void add(const void* data, size_t bytes, const std::string& user, bool writes);

  Memory& memory_;
  std::vector<Access> all_;
};

}  // namespace residual::twin
