// How does a weight as a checkpoint stores it become what backends pack? Converted, scaled and turned, in
// place.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "core/plan.h"

namespace residual::core {

enum class StoredType { kF32, kF16, kBF16, kF64 };

// By the name safetensors has for it; nothing for a type weights cannot have.
std::optional<StoredType> stored_type(const std::string& name);

// Bytes that fold_weights needs: for the numbers as they are stored, and for as many of float32.
size_t folding_bytes(const WeightShape& shape, StoredType type);

// Multiplies each output channel by its scale: every number is rounded to float32 (only F64 has to be),
// multiplied in double and rounded once more. `memory`, aligned for double, has folding_bytes(): [K,C,R,S] of
// `type` in its last bytes becomes [K,R,S,C] of float in its first, which are returned. Throws NON_FINITE.
const float* fold_weights(std::byte* memory, StoredType type, const WeightShape& shape,
                          const double* scale);  // [K]

}  // namespace residual::core
