// Turns weights as a checkpoint stores them into what backends pack: converted and scaled, a few channels at
// a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/plan.h"

namespace residual::core {

// kI8: integers from -127 to 127.
enum class StoredType { kF32, kF16, kBF16, kF64, kI8 };

// By the name safetensors has for it; nothing for a type weights cannot have.
std::optional<StoredType> stored_type(const std::string& name);

size_t bytes_of(StoredType type);

// The order of an array of weights: [K,C,R,S], or [R,S,C,K] as Keras has it.
enum class WeightLayout { kKCRS, kRSCK };

// Where weights lie: in memory, aligned for their type, or in an open file from a byte on.
struct WeightPlace {
  WeightLayout layout = WeightLayout::kKCRS;
  const std::byte* memory = nullptr;  // null: in the file
  int file = -1;
  uint64_t position = 0;
};

// One operation's weights as they are stored, and what each output channel is to be multiplied by. Each
// number is rounded to float32 (only F64 has to be), multiplied in double and rounded once more. What was
// read of a file is kept until something else is wanted. For one thread. What reads throws NON_FINITE,
// FILE_NOT_FOUND where reading fails, CHECKPOINT_INVALID where the file ends before or an integer is -128.
class StoredWeights {
 public:
  // What `place` and `scale`, [K], refer to must outlive it.
  StoredWeights(const WeightPlace& place, StoredType type, const WeightShape& shape, const double* scale);

  const WeightShape& shape() const { return shape_; }
  WeightLayout layout() const { return place_.layout; }

  // Whether they are integers: those of channel `k` stand for that many times `scale(k)`.
  bool is_quantized() const { return type_ == StoredType::kI8; }
  double scale(size_t k) const { return scale_[k]; }

  // The numbers [begin, begin + size) of each of `count` output channels from `first` on, of [K][C*R*S], to
  // `to`, [count][size]. Reads those channels whole; of RSCK, everything.
  void fold(float* to, size_t first, size_t count, size_t begin, size_t size);

  // Of RSCK: the numbers of all output channels for `count` input channels from `first` on of
  // one tap, to `to`, [count][K].
  void fold_inputs(float* to, size_t tap, size_t first, size_t count);

  // Of quantized ones, which are always KCRS: the integers of `count` output channels from `first` on as they
  // are, to `to`, [count][C*R*S].
  void integers(int8_t* to, size_t first, size_t count);

 private:
  const std::byte* stored(size_t first, size_t count, size_t numbers_each);
  template <typename Stored>
  void fold_from(float* to, size_t first, size_t count, size_t begin, size_t size);
  template <typename Stored>
  void gather_from(float* to, size_t first, size_t count, size_t begin, size_t size);
  template <typename Stored>
  void fold_inputs_from(float* to, size_t tap, size_t first, size_t count);

  WeightPlace place_;
  StoredType type_;
  WeightShape shape_;
  const double* scale_;
  std::vector<std::byte> read_;  // of a file: what was read last
  size_t read_from_ = 0;         // the first byte of it
};

}  // namespace residual::core
