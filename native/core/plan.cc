// Checks that a plan is sound. A wrong index would be a wrong pointer, so nothing from JavaScript is trusted.
#include "core/plan.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "core/error.h"

namespace residual::core {
namespace {

// Of one image's worth of a value, and of one op's weights: 1 GiB. The pixels of a few then fit an int.
constexpr size_t kMaxElements = size_t(1) << 28;

[[noreturn]] void invalid(const Op& op, const std::string& what) {
  throw Error(ErrorCode::kPlanInvalid, "The plan's operation '" + op.name + "' " + what + ".");
}

std::string text(const Shape& s) {
  return std::to_string(s.height) + "x" + std::to_string(s.width) + "x" + std::to_string(s.channels);
}

void check_extent(const Op& op, const char* what, int value, int least) {
  if (value < least || value > kMaxExtent)
    invalid(op, std::string("has ") + what + " " + std::to_string(value) + ", outside " +
                    std::to_string(least) + " to " + std::to_string(kMaxExtent));
}

void check_indices(const Plan& plan, const Op& op, const std::vector<bool>& written) {
  const int count = static_cast<int>(plan.values.size());
  for (const Operand& operand : row_of(op.kind).operands) {
    if (!operand.name) break;
    const int value = op.*operand.value;
    if (operand.optional && value == kNone) continue;
    if (value < 0 || value >= count || !written[value])
      invalid(op, "reads value " + std::to_string(value) + ", which no earlier operation wrote");
  }
  if (op.dst < 0 || op.dst >= count || written[op.dst])
    invalid(op,
            "writes value " + std::to_string(op.dst) + ", which does not exist or has already been written");
}

void check_value(const Op& op, const Value& value) {
  check_extent(op, "height", value.height, 1);
  check_extent(op, "width", value.width, 1);
  check_extent(op, "channels", value.channels, 1);
  // Three extents of at most 2^20 each: the first product fits, the second is checked by division.
  if (size_t(value.height) * value.width > kMaxElements / value.channels)
    invalid(op, "writes a value that is too large");
  if (!(value.scale > 0 && std::isfinite(value.scale))) invalid(op, "writes with a scale out of range");
  if (op.kind == OpKind::kNormalize && value.precision == Precision::kUint8 && value.scale != 1)
    invalid(op, "writes bytes with a scale other than 1");
}

void check_attributes(const Plan& plan, const Op& op) {
  const size_t channels = plan.dst(op).channels;
  for (const Attribute& attribute : row_of(op.kind).attributes) {
    if (!attribute.name) break;
    if (attribute.integer)
      check_extent(op, attribute.name, op.*attribute.integer, static_cast<int>(attribute.least));
    if (!attribute.floats) continue;
    const std::vector<float>& floats = op.*attribute.floats;
    if (floats.size() != channels) invalid(op, std::string("needs a ") + attribute.name + " per channel");
    for (const float value : floats)
      if (!(value >= attribute.least && value <= attribute.most))  // NaN too
        invalid(op, std::string("has a ") + attribute.name + " out of range");
  }
}

int windows(const Op& op, int extent) {
  const int room = extent + 2 * op.padding - op.kernel;
  if (room < 0) invalid(op, "has a window larger than its padded input");
  return room / op.stride + 1;
}

// By the row's rule.
Shape expected_dst(const Plan& plan, const Op& op) {
  const OpRow& row = row_of(op.kind);
  Shape result = plan.dst(op);
  if (row.channels == Channels::kSource) result.channels = plan.src(op).channels;
  switch (row.extent) {
    case Extent::kFree:
      return result;
    case Extent::kPixel:
      return {1, 1, result.channels};
    case Extent::kSource:
      return {plan.src(op).height, plan.src(op).width, result.channels};
    case Extent::kFilledWindows:
      if (2 * op.padding > op.kernel) invalid(op, "is padded by more than half its window");
      break;
    case Extent::kWindows:
      break;
  }
  return {windows(op, plan.src(op).height), windows(op, plan.src(op).width), result.channels};
}

void check_operands(const Plan& plan, const Op& op) {
  for (const Operand& operand : row_of(op.kind).operands) {
    if (!operand.name || op.*operand.value == kNone) continue;
    const Shape& given = plan.values[op.*operand.value];
    const Shape due = due_shape(operand, given, plan.dst(op));
    if (!(given == due))
      invalid(op, std::string("takes a ") + operand.name + " of " + text(given) + " where " + text(due) +
                      " is expected");
  }
}

void check_weights(const Plan& plan, const Op& op) {
  if (!row_of(op.kind).weighted) return;
  if (plan.src(op).channels % op.groups || plan.dst(op).channels % op.groups)
    invalid(op, "has groups that do not divide its channels");
  const WeightShape weights = weight_shape(plan, op);  // its taps may be 2^40
  if (weights.taps > kMaxElements ||
      weights.outputs * weights.inputs > kMaxElements / std::max(weights.taps, size_t(1)))
    invalid(op, "has too many weights");
}

}  // namespace

void validate(const Plan& plan) {
  if (plan.ops.empty() || plan.ops.front().kind != OpKind::kNormalize)
    throw Error(ErrorCode::kPlanInvalid, "A plan must begin with a 'normalize' operation.");
  std::vector<bool> written(plan.values.size(), false);
  for (size_t i = 0; i < plan.ops.size(); i++) {
    const Op& op = plan.ops[i];
    if ((op.kind == OpKind::kNormalize) != (i == 0)) invalid(op, "is a 'normalize' that is not the first");
    check_indices(plan, op, written);
    check_value(op, plan.dst(op));
    check_attributes(plan, op);
    const Shape expected = expected_dst(plan, op);
    if (!(plan.dst(op) == expected))
      invalid(op, "writes " + text(plan.dst(op)) + " where " + text(expected) + " is expected");
    check_operands(plan, op);
    check_weights(plan, op);
    written[op.dst] = true;
  }
  const int count = static_cast<int>(plan.values.size());
  for (const int output : plan.outputs)
    if (output != kNone && (output < 0 || output >= count || !written[output]))
      throw Error(ErrorCode::kPlanInvalid, "The plan returns a value that no operation writes.");
}

void require_fp32(const Plan& plan, const char* reason) {
  for (const Op& op : plan.ops) {
    const Precision precision = plan.dst(op).precision;
    if (precision == Precision::kFp32 && op.kind != OpKind::kConvert) continue;
    throw Error(ErrorCode::kPrecisionUnsupported,
                "The plan's operation '" + op.name + "' " +
                    (op.kind == OpKind::kConvert ? "converts to " : "writes ") + row_of(precision).name +
                    ", " + reason);
  }
}

WeightShape weight_shape(const Plan& plan, const Op& op) {
  if (!row_of(op.kind).weighted) return {};
  return {size_t(plan.dst(op).channels), size_t(op.kernel) * op.kernel,
          size_t(plan.src(op).channels) / op.groups};
}

size_t activation_bytes(const Plan& plan, const Op& op) {
  size_t bytes = plan.dst(op).bytes();
  for (const int value : Reads(op)) bytes += plan.values[value].bytes();
  return bytes;
}

}  // namespace residual::core
