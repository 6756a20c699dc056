// How does a weight as a checkpoint stores it become what backends pack? Converted and scaled, a few output
// channels at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/plan.h"

namespace residual::core {

enum class StoredType { kF32, kF16, kBF16, kF64 };

// By the name safetensors has for it; nothing for a type weights cannot have.
std::optional<StoredType> stored_type(const std::string& name);

size_t bytes_of(StoredType type);

// Where weights lie: in memory, aligned for their type, or in an open file from a byte on.
struct WeightPlace {
  const std::byte* memory = nullptr;  // null: in the file
  int file = -1;
  uint64_t position = 0;
};

// One operation's weights, [K,C,R,S] as they are stored, and what each output channel is to be multiplied by.
// For one thread.
class StoredWeights {
 public:
  // What `place` and `scale`, [K], refer to must outlive it.
  StoredWeights(const WeightPlace& place, StoredType type, const WeightShape& shape, const double* scale);

  const WeightShape& shape() const { return shape_; }

  // The numbers [begin, begin + size) of each of `count` output channels from `first` on, in the order they
  // are stored in, to `to`, [count][size]: each is rounded to float32 (only F64 has to be), multiplied in
  // double and rounded once more. Of a file the channels are read whole and kept until others are wanted.
  // Throws NON_FINITE, FILE_NOT_FOUND where reading fails, CHECKPOINT_INVALID where the file ends before.
  void fold(float* to, size_t first, size_t count, size_t begin, size_t size);

 private:
  size_t channel_bytes() const { return shape_.inputs * shape_.taps * bytes_of(type_); }
  const std::byte* channels(size_t first, size_t count);
  template <typename Stored>
  void fold_from(float* to, size_t first, size_t count, size_t begin, size_t size);

  WeightPlace place_;
  StoredType type_;
  WeightShape shape_;
  const double* scale_;
  std::vector<std::byte> read_;  // of a file: the channels that were read last
  size_t first_read_ = 0, channels_read_ = 0;
};

}  // namespace residual::core
