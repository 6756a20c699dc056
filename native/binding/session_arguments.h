// A session's arguments: reads options, weights and images from JavaScript values into C++ ones.
#pragma once

#include <napi.h>

#include <memory>
#include <vector>

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
Batch read_bytes(const Napi::Value& value, const core::Plan& plan);  // no floats

// Options as lib/runtime/native.ts describes them; absent ones keep their defaults.
core::BackendOptions read_options(const Napi::Value& value, const core::Plan& plan);

// Of run(): the requested outputs, by core::Output, each of which the plan has. Throws INTERNAL.
std::vector<int> read_outputs(const Napi::Value& value, const core::Plan& plan);

// The weights of one operation, in our own memory or in a file.
struct GivenWeights {
  size_t op = 0;  // its index in the plan
  core::WeightShape shape;
  std::shared_ptr<std::byte[]> memory;
  core::WeightPlace place;
  core::StoredType type = core::StoredType::kF32;
  std::shared_ptr<double[]> scale;  // [K]
  std::shared_ptr<float[]> bias;    // [K]
};

// Reads the arguments of loadWeights(), for an operation that takes weights. Throws NON_FINITE for a factor
// or a bias that is not finite, INTERNAL otherwise.
GivenWeights read_weights(const Napi::CallbackInfo& info, const core::Plan& plan);

}  // namespace residual::binding
