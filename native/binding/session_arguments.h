// What a session is handed: options, weights, images, as JavaScript has them and as C++ keeps them.
#pragma once

#include <napi.h>

#include <memory>
#include <vector>

#include "core/backend.h"
#include "core/stored_weights.h"

namespace residual::binding {

// A batch of images that JavaScript handed over.
struct Batch {
  std::shared_ptr<uint8_t[]> bytes;
  std::shared_ptr<float[]> floats;
  int count = 0;

  core::Input input() const { return {bytes.get(), floats.get(), count}; }
};

Batch read_batch(const Napi::Value& value, const core::Plan& plan);

// As lib/runtime/native.ts describes them; what is absent keeps its default.
core::BackendOptions read_options(const Napi::Value& value, const core::Plan& plan);

// Of run(): the outputs asked for, by core::Output, each of which the plan has. Throws INTERNAL.
std::vector<int> read_outputs(const Napi::Value& value, const core::Plan& plan);

// The weights of one operation, in memory of our own or in a file.
struct GivenWeights {
  size_t op = 0;  // its index in the plan
  core::WeightShape shape;
  std::shared_ptr<std::byte[]> memory;
  core::WeightPlace place;
  core::StoredType type = core::StoredType::kF32;
  std::shared_ptr<double[]> scale;  // [K]
  std::shared_ptr<float[]> bias;    // [K]
};

// The arguments of loadWeights(), for an operation that takes weights. Throws NON_FINITE for a factor or a
// bias that is none, INTERNAL.
GivenWeights read_weights(const Napi::CallbackInfo& info, const core::Plan& plan);

}  // namespace residual::binding
