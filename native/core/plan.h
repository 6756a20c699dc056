// The plan that native code executes: seven kinds of operation over values with known shapes, and nothing
// about ResNet.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <vector>

namespace residual::core {

constexpr int kNone = -1;            // in place of the index of a value
constexpr int kMaxExtent = 1 << 20;  // of any height, width or channel count

// Of what images are normalised with. Beyond them nobody means it, and at some point float32 ends.
// lib/model/normalization.ts has them too.
constexpr float kLeastStd = 1e-6f, kMostStd = 1e6f, kMostMean = 1e6f;

// One image's worth of a value; in memory [N,height,width,channels] float32.
struct Shape {
  int height = 0;
  int width = 0;
  int channels = 0;

  size_t elements() const { return size_t(height) * width * channels; }
  bool operator==(const Shape& o) const {
    return height == o.height && width == o.width && channels == o.channels;
  }
};

enum class OpKind { kNormalize, kConv, kMaxPool, kAvgPool, kLinear, kSoftmax, kSigmoid };

// Whether an op makes probabilities of logits.
inline bool is_activation(OpKind kind) { return kind == OpKind::kSoftmax || kind == OpKind::kSigmoid; }

struct Op {
  OpKind kind = OpKind::kConv;
  std::string name;  // for messages
  int src = kNone;   // kNone for normalize alone: its source is the session's input
  int dst = kNone;
  int residual = kNone;  // conv: the value added before relu
  int kernel = 1;        // conv, maxPool: height and width of the window
  int stride = 1;
  int padding = 0;
  int groups = 1;
  bool relu = false;
  std::vector<float> mean;  // normalize: [channels], in units of byte / 255
  std::vector<float> std;
};

// What a run can return; the order is that of kOutputNames.
enum class Output { kLogits, kProbabilities, kFeatures, kFeatureMaps };
constexpr int kOutputCount = 4;
constexpr const char* kOutputNames[kOutputCount] = {"logits", "probabilities", "features", "featureMaps"};

struct Plan {
  std::vector<Shape> values;
  std::vector<Op> ops;
  std::array<int, kOutputCount> outputs = {kNone, kNone, kNone, kNone};  // values, by Output

  const Shape& src(const Op& op) const { return values[op.src]; }
  const Shape& dst(const Op& op) const { return values[op.dst]; }
  const Shape& input() const { return values[ops.front().dst]; }
};

// Checks everything executing relies on: indices, order, shapes, sizes that fit in memory. Throws
// PLAN_INVALID.
void validate(const Plan& plan);

// Of the weights an op takes: [K,R,S,C/groups] for conv, [K,C] for linear; zeros for the rest.
struct WeightShape {
  size_t outputs = 0;  // K
  size_t taps = 0;     // R*S
  size_t inputs = 0;   // C/groups

  size_t count() const { return outputs * taps * inputs; }
};
WeightShape weight_shape(const Plan& plan, const Op& op);

}  // namespace residual::core
