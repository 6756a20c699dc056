// The table of operations: what each reads, what describes it, and the rule for the shape of its result.
//
// The plan reader, validation, lifetimes, the slices of a batch and the cost in bytes follow from a row, so a
// new operation is a kind, a row, and a kernel per backend. lib/model/ops.ts is the same table for
// TypeScript; test/model/ops.test.ts holds the two equal.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <vector>

#include "core/value.h"

namespace residual::core {

constexpr int kNone = -1;  // in place of the index of a value

// Limits of what images are normalised with: nobody means more, and at some point float32 ends.
// lib/model/normalization.ts has them too.
constexpr float kLeastStd = 1e-6f, kMostStd = 1e6f, kMostMean = 1e6f;

enum class OpKind {
  kNormalize,
  kConv,
  kMaxPool,
  kGlobalAvgPool,
  kLinear,
  kSoftmax,
  kSigmoid,
  kChannelGate,
  kConvert
};

struct Op {
  OpKind kind = OpKind::kConv;
  std::string name;  // for messages
  int dst = kNone;   // the value it writes
  // Operands: the values it reads. normalize has none: its source is the session's input.
  int src = kNone;
  int residual = kNone;  // conv: added before relu
  int gate = kNone;      // channelGate: what each channel is multiplied by
  // Attributes.
  int kernel = 1;  // height and width of the window
  int stride = 1;
  int padding = 0;
  int groups = 1;
  bool relu = false;
  std::vector<float> mean;  // [channels], in units of byte / 255
  std::vector<float> std;
};

// What shape an operand must have.
enum class OperandShape {
  kAny,
  kPixel,        // 1x1
  kResultPixel,  // 1x1, and the channels of the result
  kResult        // that of the result
};
constexpr const char* kOperandShapeNames[] = {"any", "pixel", "resultPixel", "result"};

struct Operand {
  const char* name = nullptr;  // null: no further operand
  int Op::*value = nullptr;
  OperandShape shape = OperandShape::kAny;
  bool optional = false;
};

// The shape that an operand of `given` shape must have.
inline Shape due_shape(const Operand& operand, const Shape& given, const Shape& result) {
  switch (operand.shape) {
    case OperandShape::kAny:
      break;
    case OperandShape::kPixel:
      return {1, 1, given.channels};
    case OperandShape::kResultPixel:
      return {1, 1, result.channels};
    case OperandShape::kResult:
      return result;
  }
  return given;
}

// One of the three members is not null.
struct Attribute {
  const char* name = nullptr;  // null: no further attribute
  int Op::*integer = nullptr;  // from `least` to kMaxExtent
  bool Op::*flag = nullptr;
  std::vector<float> Op::*floats = nullptr;  // one per channel, from `least` to `most`
  float least = 0;
  float most = 0;
};

// The height and width of the result, by those of `src`.
enum class Extent {
  kFree,
  kSource,         // the same
  kWindows,        // one pixel per window of `kernel`, `stride` and `padding`
  kFilledWindows,  // as before, and every window holds a pixel
  kPixel           // 1x1
};
constexpr const char* kExtentNames[] = {"free", "source", "windows", "filledWindows", "pixel"};

// The channels of the result.
enum class Channels { kFree, kSource };
constexpr const char* kChannelsNames[] = {"free", "source"};

constexpr int kMostOperands = 2;
constexpr int kMostAttributes = 5;

struct OpRow {
  OpKind kind;
  const char* name;
  std::array<Operand, kMostOperands> operands;
  std::array<Attribute, kMostAttributes> attributes;
  Extent extent;
  Channels channels;
  bool weighted = false;    // multiplies by weights, [K, R, S, C / groups], and adds a bias, [K]
  bool activation = false;  // makes probabilities of logits
};

constexpr Operand kSrc = {"src", &Op::src};
constexpr Operand kSrcPixel = {"src", &Op::src, OperandShape::kPixel};
constexpr Operand kGate = {"gate", &Op::gate, OperandShape::kResultPixel};
constexpr Operand kResidual = {"residual", &Op::residual, OperandShape::kResult, /*optional=*/true};

constexpr Attribute integer_attribute(const char* name, int Op::*member, float least) {
  return {name, member, nullptr, nullptr, least};
}
constexpr Attribute kKernel = integer_attribute("kernel", &Op::kernel, 1);
constexpr Attribute kStride = integer_attribute("stride", &Op::stride, 1);
constexpr Attribute kPadding = integer_attribute("padding", &Op::padding, 0);
constexpr Attribute kGroups = integer_attribute("groups", &Op::groups, 1);
constexpr Attribute kRelu = {"relu", nullptr, &Op::relu};
constexpr Attribute kMean = {"mean", nullptr, nullptr, &Op::mean, -kMostMean, kMostMean};
constexpr Attribute kStd = {"std", nullptr, nullptr, &Op::std, kLeastStd, kMostStd};

constexpr bool kWeighted = true, kUnweighted = false, kActivation = true;

// By OpKind.
constexpr OpRow kOps[] = {
    {OpKind::kNormalize, "normalize", {}, {{kMean, kStd}}, Extent::kFree, Channels::kFree},
    {OpKind::kConv,
     "conv",
     {{kSrc, kResidual}},
     {{kKernel, kStride, kPadding, kGroups, kRelu}},
     Extent::kWindows,
     Channels::kFree,
     kWeighted},
    {OpKind::kMaxPool,
     "maxPool",
     {{kSrc}},
     {{kKernel, kStride, kPadding}},
     Extent::kFilledWindows,
     Channels::kSource},
    {OpKind::kGlobalAvgPool, "globalAvgPool", {{kSrc}}, {}, Extent::kPixel, Channels::kSource},
    {OpKind::kLinear, "linear", {{kSrcPixel}}, {}, Extent::kPixel, Channels::kFree, kWeighted},
    {OpKind::kSoftmax, "softmax", {{kSrc}}, {}, Extent::kSource, Channels::kSource, kUnweighted, kActivation},
    {OpKind::kSigmoid, "sigmoid", {{kSrc}}, {}, Extent::kSource, Channels::kSource, kUnweighted, kActivation},
    {OpKind::kChannelGate, "channelGate", {{kSrc, kGate}}, {}, Extent::kSource, Channels::kSource},
    {OpKind::kConvert, "convert", {{kSrc}}, {}, Extent::kSource, Channels::kSource},
};
constexpr int kOpCount = sizeof(kOps) / sizeof(kOps[0]);

constexpr bool is_by_kind() {
  for (int i = 0; i < kOpCount; i++)
    if (int(kOps[i].kind) != i) return false;
  return true;
}
static_assert(is_by_kind(), "a row of the table of operations is out of place");

constexpr const OpRow& row_of(OpKind kind) { return kOps[int(kind)]; }

inline bool is_activation(OpKind kind) { return row_of(kind).activation; }

// The indices of the values that an op reads, in the order of its row; absent ones are left out.
class Reads {
 public:
  explicit Reads(const Op& op) {
    for (const Operand& operand : row_of(op.kind).operands)
      if (operand.name && op.*operand.value != kNone) values_[count_++] = op.*operand.value;
  }
  const int* begin() const { return values_.data(); }
  const int* end() const { return values_.data() + count_; }

 private:
  std::array<int, kMostOperands> values_{};
  int count_ = 0;
};

}  // namespace residual::core
