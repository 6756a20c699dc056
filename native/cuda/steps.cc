#include "cuda/steps.h"

#include "core/error.h"

namespace residual::cuda {
namespace {

// Calls `body` with a value of the type activations are stored in.
template <typename Body>
auto with_storage(Precision precision, Body body) {
  switch (precision) {
    case Precision::kFp16:
      return body(__half());
    case Precision::kBf16:
      return body(__nv_bfloat16());
    default:
      return body(float());
  }
}

template <typename T>
T* typed(void* pointer) {
  return static_cast<T*>(pointer);
}

template <typename T, typename Dst>
KernelLaunch direct_conv(const core::Plan& plan, const Layout& layout, const core::Op& op,
                         const OpWeights& weights, int batch, void* dst, const void* src,
                         const void* residual) {
  typename DirectConv<T, Dst>::Args args{};
  const core::Shape &from = plan.src(op), &to = plan.dst(op);
  args.dst = static_cast<Dst*>(dst);
  args.src = static_cast<const T*>(src);
  args.weight = static_cast<const T*>(weights.weight);
  args.scale = weights.scale;
  args.bias = weights.bias;
  args.residual = static_cast<const T*>(residual);
  args.batch = batch;
  args.height = from.height;
  args.width = from.width;
  args.src_channels = from.channels;
  args.src_padded = layout.value(op.src).padded;
  args.dst_height = to.height;
  args.dst_width = to.width;
  args.dst_channels = to.channels;
  args.dst_padded = layout.value(op.dst).padded;
  args.weight_channels = layout.weight_channels(op);
  args.kernel = op.kernel;
  args.stride = op.stride;
  args.padding = op.padding;
  args.groups = op.groups;
  args.relu = op.relu;
  return launch_of<DirectConv<T, Dst>>(args);
}

// Of a softmax or a sigmoid.
template <typename Kernel, typename T>
KernelLaunch activation(const core::Plan& plan, const Layout& layout, const core::Op& op, int batch,
                        void* dst, const void* src) {
  const core::Shape& shape = plan.src(op);
  typename Kernel::Args args{};
  args.dst = static_cast<float*>(dst);
  args.src = static_cast<const T*>(src);
  args.rows = int64_t(batch) * shape.height * shape.width;
  args.channels = shape.channels;
  args.src_padded = layout.value(op.src).padded;
  args.dst_padded = layout.value(op.dst).padded;
  return launch_of<Kernel>(args);
}

}  // namespace

std::vector<bool> needed_ops(const core::Plan& plan, OutputMask mask) {
  std::vector<bool> values(plan.values.size()), ops(plan.ops.size());
  for (int i = 0; i < core::kOutputCount; i++)
    if (mask >> i & 1) values[plan.outputs[i]] = true;
  for (size_t i = ops.size(); i-- > 0;) {
    const core::Op& op = plan.ops[i];
    if (!values[op.dst]) continue;
    ops[i] = true;
    for (const int value : core::Reads(op)) values[value] = true;
  }
  return ops;
}

Step StepBuilder::convolution(const core::Op& op, const OpWeights& weights,
                              std::shared_ptr<const EnginePlan> plan) const {
  const Layout& layout = network_.layout;
  const core::Shape& shape = network_.plan.dst(op);
  void* residual = op.residual == core::kNone ? nullptr : at(op.residual);
  Step step;
  step.op = op.name;
  if (plan) {
    step.plan = std::move(plan);
    step.bindings = {{kSrc, at(op.src)},
                     {kWeight, const_cast<void*>(weights.weight)},
                     {kBias, const_cast<float*>(weights.bias)},
                     {kDst, at(op.dst)}};
    if (weights.scale) step.bindings.push_back({kScale, const_cast<float*>(weights.scale)});
    if (residual) step.bindings.push_back({kResidual, residual});
    return step;
  }
  with_storage(layout.precision(), [&](auto zero) {
    using T = decltype(zero);
    if (layout.method(op) == ConvMethod::kPointwise) {
      typename Pointwise<T>::Args args{};
      args.dst = typed<T>(at(op.dst));
      args.src = typed<T>(at(op.src));
      args.weight = static_cast<const float*>(weights.weight);
      args.bias = weights.bias;
      args.residual = typed<T>(residual);
      args.pixels = int64_t(batch_) * shape.height * shape.width;
      args.padded = layout.value(op.dst).padded;
      args.relu = op.relu;
      step.kernel = launch_of<Pointwise<T>>(args);
    } else if (layout.value(op.dst).is_float()) {
      step.kernel =
          direct_conv<T, float>(network_.plan, layout, op, weights, batch_, at(op.dst), at(op.src), residual);
    } else {
      step.kernel =
          direct_conv<T, T>(network_.plan, layout, op, weights, batch_, at(op.dst), at(op.src), residual);
    }
  });
  return step;
}

Step StepBuilder::op(size_t index, std::shared_ptr<const EnginePlan> plan) const {
  const core::Op& op = network_.plan.ops[index];
  const Layout& layout = network_.layout;
  if (core::row_of(op.kind).weighted) return convolution(op, network_.weights[index], std::move(plan));

  const core::Shape &from = network_.plan.src(op), &to = network_.plan.dst(op);
  Step step;
  step.op = op.name;
  // Activations read float32 where nothing else reads the logits.
  const Precision precision = layout.value(op.src).is_float() ? Precision::kFp32 : layout.precision();
  with_storage(precision, [&](auto zero) {
    using T = decltype(zero);
    if (op.kind == core::OpKind::kMaxPool) {
      typename MaxPool<T>::Args args{};
      args.dst = typed<T>(at(op.dst));
      args.src = typed<T>(at(op.src));
      args.batch = batch_;
      args.height = from.height;
      args.width = from.width;
      args.dst_height = to.height;
      args.dst_width = to.width;
      args.padded = layout.value(op.dst).padded;
      args.kernel = op.kernel;
      args.stride = op.stride;
      args.padding = op.padding;
      step.kernel = launch_of<MaxPool<T>>(args);
    } else if (op.kind == core::OpKind::kGlobalAvgPool) {
      typename AvgPool<T>::Args args{};
      args.dst = typed<T>(at(op.dst));
      args.src = typed<T>(at(op.src));
      args.batch = batch_;
      args.pixels = from.height * from.width;
      args.padded = layout.value(op.dst).padded;
      step.kernel = launch_of<AvgPool<T>>(args);
    } else if (op.kind == core::OpKind::kChannelGate) {
      typename ChannelGate<T>::Args args{};
      args.dst = typed<T>(at(op.dst));
      args.src = typed<T>(at(op.src));
      args.gate = typed<T>(at(op.gate));
      args.batch = batch_;
      args.pixels = to.height * to.width;
      args.padded = layout.value(op.dst).padded;
      step.kernel = launch_of<ChannelGate<T>>(args);
    } else if (op.kind == core::OpKind::kSoftmax && layout.value(op.dst).is_float()) {
      step.kernel = activation<Softmax<T>, T>(network_.plan, layout, op, batch_, at(op.dst), at(op.src));
    } else if (op.kind == core::OpKind::kSigmoid && layout.value(op.dst).is_float()) {
      step.kernel = activation<Sigmoid<T>, T>(network_.plan, layout, op, batch_, at(op.dst), at(op.src));
    }
  });
  if (!step.kernel)
    throw core::Error(
        core::ErrorCode::kPlanInvalid,
        "The CUDA backend cannot run '" + op.name + "': no operation may read the result of an activation.");
  return step;
}

Step StepBuilder::import(InputKind kind, const void* src) const {
  const core::Op& op = network_.plan.ops.front();
  const core::Shape& shape = network_.plan.dst(op);
  const int64_t pixels = int64_t(batch_) * shape.height * shape.width;
  const int padded = network_.layout.value(op.dst).padded;
  Step step;
  step.op = op.name;
  with_storage(network_.layout.precision(), [&](auto zero) {
    using T = decltype(zero);
    T* dst = typed<T>(at(op.dst));
    const OpWeights& weights = network_.weights.front();
    if (kind == InputKind::kBytes)
      step.kernel = launch_of<Normalize<T>>({dst, static_cast<const uint8_t*>(src), weights.scale,
                                             weights.bias, pixels, shape.channels, padded});
    else
      step.kernel =
          launch_of<Import<T>>({dst, static_cast<const float*>(src), pixels, shape.channels, padded});
  });
  return step;
}

Step StepBuilder::output(int output, void* dst) const {
  const int value = network_.plan.outputs[output];
  const core::Shape& shape = network_.plan.values[value];
  const ValueLayout& layout = network_.layout.value(value);
  Step step;
  step.op = std::string("output '") + core::kOutputNames[output] + "'";
  with_storage(layout.is_float() ? Precision::kFp32 : network_.layout.precision(), [&](auto zero) {
    using T = decltype(zero);
    step.kernel =
        launch_of<Export<T>>({typed<float>(dst), typed<T>(at(value)),
                              int64_t(batch_) * shape.height * shape.width, shape.channels, layout.padded});
  });
  return step;
}

}  // namespace residual::cuda
