// A session's arguments: reads options, weights and images from JavaScript values into C++ ones.
#pragma once

#include <napi.h>

#include <memory>
#include <string>

#include "core/backend.h"
#include "core/stored_weights.h"

namespace residual::binding {

// A batch of images from JavaScript.
struct Batch {
  std::shared_ptr<uint8_t[]> bytes;
  std::shared_ptr<float[]> floats;
  int count = 0;

  core::Input input() const { return {bytes.get(), floats.get(), count}; }
};

Batch read_batch(const Napi::Value& value, const core::Plan& plan);

// Options as lib/runtime/native.ts describes them; absent ones keep their defaults.
core::BackendOptions read_options(const Napi::Value& value, const core::Plan& plan);

// The weights of one operation, in our own memory or in a file.
struct GivenWeights {
  std::shared_ptr<std::byte[]> memory;
  core::WeightPlace place;
  core::StoredType type = core::StoredType::kF32;
  std::shared_ptr<double[]> scale;  // [K]
  std::shared_ptr<float[]> bias;    // [K]
};

// Reads the arguments of loadWeights() after the first, for operation `op`, which takes weights of `shape`.
// Throws NON_FINITE for a factor or a bias that is not finite, INTERNAL otherwise.
GivenWeights read_weights(const Napi::CallbackInfo& info, const std::string& op,
                          const core::WeightShape& shape);

}  // namespace residual::binding
