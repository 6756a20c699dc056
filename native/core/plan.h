// A plan, which is all that native code executes: operations over values with known shapes, and nothing about
// ResNet.
#pragma once

#include <array>
#include <cstddef>
#include <vector>

#include "core/ops.h"
#include "core/value.h"

namespace residual::core {

// What a run can return; the order is that of kOutputNames.
enum class Output { kLogits, kProbabilities, kFeatures, kFeatureMaps };
constexpr int kOutputCount = 4;
constexpr const char* kOutputNames[kOutputCount] = {"logits", "probabilities", "features", "featureMaps"};

struct Plan {
  std::vector<Value> values;
  std::vector<Op> ops;
  std::array<int, kOutputCount> outputs = {kNone, kNone, kNone, kNone};  // values, by Output

  const Value& src(const Op& op) const { return values[op.src]; }
  const Value& dst(const Op& op) const { return values[op.dst]; }
  const Value& input() const { return values[ops.front().dst]; }
};

// Checks everything executing relies on: indices, order, shapes, precisions, sizes that fit in memory. Throws
// PLAN_INVALID. lib/model/check-plan.ts refuses the same plans in the same words.
void validate(const Plan& plan);

// Refuses a plan with a value that is kept otherwise than as float32, or with a conversion:
// PRECISION_UNSUPPORTED. `reason` ends the message after "writes bf16, ".
void require_fp32(const Plan& plan, const char* reason);

// Of the weights an op takes: [K,R,S,C/groups] for conv, [K,C] for linear; zeros for the rest.
struct WeightShape {
  size_t outputs = 0;  // K
  size_t taps = 0;     // R*S
  size_t inputs = 0;   // C/groups

  size_t count() const { return outputs * taps * inputs; }
};
WeightShape weight_shape(const Plan& plan, const Op& op);

// What an op reads and writes of one image, in bytes, weights apart.
size_t activation_bytes(const Plan& plan, const Op& op);

}  // namespace residual::core
