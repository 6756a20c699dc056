#include "cuda/layout.h"

#include "core/error.h"

namespace residual::cuda {
namespace {

constexpr size_t kArenaAlignment = 256;  // bytes, for every value: the alignment of cudaMalloc

// Logits and probabilities stay in float32: a value that only activations read needs no tensor cores.
std::vector<bool> float_values(const core::Plan& plan) {
  std::vector<bool> result(plan.values.size(), false);
  for (const core::Op& op : plan.ops)
    if (op.kind == core::OpKind::kLinear || core::is_activation(op.kind)) result[op.dst] = true;
  for (const core::Op& op : plan.ops)
    if (!core::is_activation(op.kind))
      for (const int value : core::Reads(op)) result[value] = false;
  return result;
}

// What the session's precision makes of a value.
core::Precision stored_as(Precision precision) {
  return precision == Precision::kFp16   ? core::Precision::kFp16
         : precision == Precision::kBf16 ? core::Precision::kBf16
                                         : core::Precision::kFp32;
}

}  // namespace

Layout::Layout(const core::Plan& plan, Precision precision) : plan_(plan), precision_(precision) {
  core::require_fp32(
      plan, "but on CUDA the session's option decides how values are kept. Leave the value's precision out.");
  const core::Precision stored = stored_as(precision);
  const int lanes = stored == core::Precision::kFp32 ? 4 : 8;
  const std::vector<bool> floats = float_values(plan);
  std::vector<size_t> sizes;
  for (size_t i = 0; i < plan.values.size(); i++) {
    const core::Shape& shape = plan.values[i];
    ValueLayout value;
    value.padded = (shape.channels + lanes - 1) / lanes * lanes;
    value.precision = floats[i] ? core::Precision::kFp32 : stored;
    value.bytes = size_t(shape.height) * shape.width * value.padded * core::row_of(value.precision).bytes;
    sizes.push_back(value.bytes);
    values_.push_back(value);
  }
  memory_ = core::plan_memory(core::lifetimes(plan), sizes, kArenaAlignment);
}

ConvMethod Layout::method(const core::Op& op) const {
  const int channels = plan_.src(op).channels, dst_channels = plan_.dst(op).channels;
  if (op.groups == 1) return ConvMethod::kCudnn;
  const bool same = op.groups == channels && op.groups == dst_channels;
  if (same && op.kernel == 1 && op.stride == 1 && op.padding == 0) return ConvMethod::kPointwise;
  // Padding would move channels from group to group.
  const bool padded = values_[op.src].padded != channels || values_[op.dst].padded != dst_channels;
  return padded ? ConvMethod::kDirect : ConvMethod::kCudnn;
}

int Layout::weight_channels(const core::Op& op) const {
  return op.groups == 1 ? values_[op.src].padded : plan_.src(op).channels / op.groups;
}

ConvSpec Layout::spec(const core::Op& op, int batch) const {
  const core::Shape &src = plan_.src(op), &dst = plan_.dst(op);
  ConvSpec spec;
  spec.batch = batch;
  spec.height = src.height;
  spec.width = src.width;
  spec.channels = values_[op.src].padded;
  spec.dst_height = dst.height;
  spec.dst_width = dst.width;
  spec.dst_channels = values_[op.dst].padded;
  spec.kernel = op.kernel;
  spec.stride = op.stride;
  spec.padding = op.padding;
  spec.groups = op.groups;
  spec.scale = precision_ == Precision::kFp16;  // see weights.h
  spec.residual = op.residual != core::kNone;
  spec.relu = op.relu;
  spec.float_dst = values_[op.dst].is_float() && storage_type(precision_) != CUDNN_DATA_FLOAT;
  spec.precision = precision_;
  return spec;
}

Precision supported_precision(const std::string& name, int compute_capability) {
  for (int i = 0; i < kPrecisionCount; i++) {
    if (name != kPrecisionNames[i]) continue;
    const Precision precision = static_cast<Precision>(i);
    if (precision == Precision::kBf16 && compute_capability < 80)
      throw core::Error(core::ErrorCode::kPrecisionUnsupported,
                        "bf16 needs a GPU of compute capability 8.0 or higher; this one has " +
                            std::to_string(compute_capability / 10) + "." +
                            std::to_string(compute_capability % 10) + ". Use fp16.");
    return precision;
  }
  throw core::Error(core::ErrorCode::kPrecisionUnsupported, "Unknown precision '" + name + "'.");
}

}  // namespace residual::cuda
