// How does a weight as a checkpoint stores it become what backends pack? Converted and scaled, a few output
// channels at a time.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "core/plan.h"

namespace residual::core {

enum class StoredType { kF32, kF16, kBF16, kF64 };

// By the name safetensors has for it; nothing for a type weights cannot have.
std::optional<StoredType> stored_type(const std::string& name);

size_t bytes_of(StoredType type);

// One operation's weights, [K,C,R,S] as they are stored, and what each output channel is to be multiplied by.
class StoredWeights {
 public:
  // Both must outlive it, `data` aligned for `type`.
  StoredWeights(const std::byte* data, StoredType type, const WeightShape& shape, const double* scale)  // [K]
      : data_(data), type_(type), shape_(shape), scale_(scale) {}

  const WeightShape& shape() const { return shape_; }

  // The numbers [begin, begin + size) of each of `count` output channels from `first` on, in the order they
  // are stored in, to `to`, [count][size]: each is rounded to float32 (only F64 has to be), multiplied in
  // double and rounded once more. Throws NON_FINITE.
  void fold(float* to, size_t first, size_t count, size_t begin, size_t size) const;

 private:
  template <typename Stored>
  void fold_from(float* to, size_t first, size_t count, size_t begin, size_t size) const;

  const std::byte* data_;
  StoredType type_;
  WeightShape shape_;
  const double* scale_;
};

}  // namespace residual::core
