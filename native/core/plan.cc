// Checks that a plan is sound. A wrong index would be a wrong pointer, so nothing from JavaScript is trusted.
#include "core/plan.h"

#include <algorithm>
#include <cmath>
#include <sstream>

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

std::string text(float number) {
  std::ostringstream out;
  out << number;
  return out.str();
}

void check_extent(const Op& op, const char* what, int value, int min) {
  if (value < min || value > kMaxExtent)
    invalid(op, std::string("has ") + what + " " + std::to_string(value) + ", outside " +
                    std::to_string(min) + " to " + std::to_string(kMaxExtent));
}

int windows(const Op& op, int extent) {
  const int room = extent + 2 * op.padding - op.kernel;
  if (room < 0) invalid(op, "has a window larger than its padded input");
  return room / op.stride + 1;
}

void check_window(const Op& op) {
  check_extent(op, "kernel", op.kernel, 1);
  check_extent(op, "stride", op.stride, 1);
  check_extent(op, "padding", op.padding, 0);
}

Shape expected_dst(const Plan& plan, const Op& op) {
  const Shape dst = plan.dst(op);
  if (op.kind == OpKind::kNormalize) {
    const size_t channels = dst.channels;
    if (op.mean.size() != channels || op.std.size() != channels)
      invalid(op, "needs a mean and a std per channel");
    for (const float mean : op.mean)
      if (!(std::abs(mean) <= kMostMean))
        invalid(op, "has an out-of-range mean of " + text(mean));  // NaN too
    for (const float std : op.std)
      if (!(std >= kLeastStd && std <= kMostStd)) invalid(op, "has an out-of-range std of " + text(std));
    return dst;
  }
  const Shape src = plan.src(op);
  switch (op.kind) {
    case OpKind::kConv:
      check_window(op);
      check_extent(op, "groups", op.groups, 1);
      if (src.channels % op.groups || dst.channels % op.groups)
        invalid(op, "has groups that do not divide its channels");
      return {windows(op, src.height), windows(op, src.width), dst.channels};
    case OpKind::kMaxPool:
      check_window(op);
      if (2 * op.padding > op.kernel) invalid(op, "is padded by more than half its window");
      return {windows(op, src.height), windows(op, src.width), src.channels};
    case OpKind::kAvgPool:
      return {1, 1, src.channels};
    case OpKind::kLinear:
      if (src.height != 1 || src.width != 1) invalid(op, "takes 1x1 values but is given " + text(src));
      return {1, 1, dst.channels};
    default:
      return src;
  }
}

}  // namespace

void validate(const Plan& plan) {
  if (plan.ops.empty() || plan.ops.front().kind != OpKind::kNormalize)
    throw Error(ErrorCode::kPlanInvalid, "A plan must begin with a 'normalize' operation.");
  const int count = static_cast<int>(plan.values.size());
  std::vector<bool> written(plan.values.size(), false);

  for (size_t i = 0; i < plan.ops.size(); i++) {
    const Op& op = plan.ops[i];
    if ((op.kind == OpKind::kNormalize) != (i == 0)) invalid(op, "is a 'normalize' that is not the first");
    const auto check_read = [&](int value) {
      if (value < 0 || value >= count || !written[value])
        invalid(op, "reads value " + std::to_string(value) + ", which no earlier operation wrote");
    };
    if (i > 0) check_read(op.src);
    if (op.residual != kNone) check_read(op.residual);
    if (op.dst < 0 || op.dst >= count || written[op.dst])
      invalid(op, "writes value " + std::to_string(op.dst) +
                      ", which does not exist or has already been written");

    const Shape& dst = plan.dst(op);
    check_extent(op, "height", dst.height, 1);
    check_extent(op, "width", dst.width, 1);
    check_extent(op, "channels", dst.channels, 1);
    // Three extents of at most 2^20 each: the first product fits, the second is checked by division.
    if (size_t(dst.height) * dst.width > kMaxElements / dst.channels)
      invalid(op, "writes a value that is too large");
    const Shape expected = expected_dst(plan, op);
    if (!(dst == expected)) invalid(op, "writes " + text(dst) + " where " + text(expected) + " is expected");
    if (op.residual != kNone && !(plan.values[op.residual] == dst))
      invalid(op, "adds a residual of shape " + text(plan.values[op.residual]) + " to " + text(dst));
    const WeightShape weights = weight_shape(plan, op);  // its taps may be 2^40
    if (weights.taps > kMaxElements ||
        weights.outputs * weights.inputs > kMaxElements / std::max(weights.taps, size_t(1)))
      invalid(op, "has too many weights");
    written[op.dst] = true;
  }
  for (const int output : plan.outputs)
    if (output != kNone && (output < 0 || output >= count || !written[output]))
      throw Error(ErrorCode::kPlanInvalid, "The plan returns a value that no operation writes.");
}

WeightShape weight_shape(const Plan& plan, const Op& op) {
  if (op.kind != OpKind::kConv && op.kind != OpKind::kLinear) return {};
  const size_t taps = op.kind == OpKind::kConv ? size_t(op.kernel) * op.kernel : 1;
  return {size_t(plan.dst(op).channels), taps, size_t(plan.src(op).channels) / op.groups};
}

}  // namespace residual::core
