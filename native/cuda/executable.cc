#include "cuda/executable.h"

#include <algorithm>

#include "core/error.h"

namespace residual::cuda {
namespace {

constexpr int kSlots = 2;

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

}  // namespace

class Executable::Slot {
 public:
  explicit Slot(const std::shared_ptr<Device>& device)
      : uploaded(make_event(device)), computed(make_event(device)), done(make_event(device)) {}

  struct Staging {
    PinnedBuffer host;
    DeviceBuffer device;
  };

  bool busy = false;       // leased
  bool submitted = false;  // and not collected yet
  Staging inputs[kInputKinds];
  Staging outputs[core::kOutputCount];
  std::map<std::pair<InputKind, OutputMask>, std::unique_ptr<Graph>> graphs;
  std::unique_ptr<Event> uploaded, computed, done;
};

Executable::Executable(const Network& network, int batch,
                       const std::vector<std::shared_ptr<const EnginePlan>>& plans, bool graph,
                       std::shared_ptr<Device> device)
    : network_(network), batch_(batch), graph_(graph), device_(std::move(device)) {
  const std::string name = " of batches of " + std::to_string(batch);
  size_t workspace = 0;
  for (const auto& plan : plans)
    if (plan) workspace = std::max(workspace, size_t(plan->workspace_bytes));
  arena_ = DeviceBuffer(device_, network.layout.arena_bytes(batch), "the activations" + name);
  workspace_ = DeviceBuffer(device_, workspace, "the workspace" + name);
  for (size_t op = 1; op < network.plan.ops.size(); op++) body_.push_back(step(op, plans[op]));
  upload_ = make_stream(device_);
  compute_ = make_stream(device_);
  download_ = make_stream(device_);
  for (int i = 0; i < kSlots; i++) slots_.push_back(std::make_unique<Slot>(device_));
}

Executable::~Executable() = default;

size_t Executable::bytes() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  size_t total = arena_.bytes() + workspace_.bytes();
  for (const auto& slot : slots_) {
    for (const Slot::Staging& staging : slot->inputs) total += staging.host.bytes() + staging.device.bytes();
    for (const Slot::Staging& staging : slot->outputs) total += staging.host.bytes() + staging.device.bytes();
  }
  return total;
}

Executable::Lease Executable::acquire(bool wait) {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    for (const auto& slot : slots_) {
      if (slot->busy) continue;
      slot->busy = true;
      return Lease(this, slot.get());
    }
    if (!wait) return Lease();
    free_.wait(lock);
  }
}

Executable::Step Executable::conv_step(const core::Op& op, const OpWeights& weights,
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
    } else if (layout.value(op.dst).is_float) {
      step.kernel =
          direct_conv<T, float>(network_.plan, layout, op, weights, batch_, at(op.dst), at(op.src), residual);
    } else {
      step.kernel =
          direct_conv<T, T>(network_.plan, layout, op, weights, batch_, at(op.dst), at(op.src), residual);
    }
  });
  return step;
}

Executable::Step Executable::step(size_t index, std::shared_ptr<const EnginePlan> plan) const {
  const core::Op& op = network_.plan.ops[index];
  const Layout& layout = network_.layout;
  if (op.kind == core::OpKind::kConv || op.kind == core::OpKind::kLinear)
    return conv_step(op, network_.weights[index], std::move(plan));

  const core::Shape &from = network_.plan.src(op), &to = network_.plan.dst(op);
  Step step;
  step.op = op.name;
  // Softmax reads float32 where nothing but softmax does.
  const Precision precision = layout.value(op.src).is_float ? Precision::kFp32 : layout.precision();
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
    } else if (op.kind == core::OpKind::kAvgPool) {
      typename AvgPool<T>::Args args{};
      args.dst = typed<T>(at(op.dst));
      args.src = typed<T>(at(op.src));
      args.batch = batch_;
      args.pixels = from.height * from.width;
      args.padded = layout.value(op.dst).padded;
      step.kernel = launch_of<AvgPool<T>>(args);
    } else if (op.kind == core::OpKind::kSoftmax) {
      typename Softmax<T>::Args args{};
      args.dst = typed<float>(at(op.dst));
      args.src = typed<T>(at(op.src));
      args.rows = int64_t(batch_) * from.height * from.width;
      args.channels = from.channels;
      args.src_padded = layout.value(op.src).padded;
      args.dst_padded = layout.value(op.dst).padded;
      step.kernel = launch_of<Softmax<T>>(args);
    }
  });
  if (!step.kernel) throw core::Error(core::ErrorCode::kInternal, "No kernel runs '" + op.name + "'.");
  return step;
}

Executable::Step Executable::import_step(InputKind kind, const void* src) const {
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

Executable::Step Executable::export_step(int output, void* dst) const {
  const int value = network_.plan.outputs[output];
  const core::Shape& shape = network_.plan.values[value];
  const ValueLayout& layout = network_.layout.value(value);
  Step step;
  step.op = std::string("output '") + core::kOutputNames[output] + "'";
  with_storage(layout.is_float ? Precision::kFp32 : network_.layout.precision(), [&](auto zero) {
    using T = decltype(zero);
    step.kernel =
        launch_of<Export<T>>({typed<float>(dst), typed<T>(at(value)),
                              int64_t(batch_) * shape.height * shape.width, shape.channels, layout.padded});
  });
  return step;
}

std::vector<Executable::Step> Executable::steps(const Slot& slot, InputKind kind, OutputMask mask) const {
  std::vector<Step> result{import_step(kind, slot.inputs[int(kind)].device.data())};
  result.insert(result.end(), body_.begin(), body_.end());
  for (int i = 0; i < core::kOutputCount; i++)
    if (mask >> i & 1) result.push_back(export_step(i, slot.outputs[i].device.data()));
  return result;
}

void Executable::queue(const std::vector<Step>& steps) {
  for (const Step& step : steps) {
    if (step.kernel)
      compute_->launch(step.op, *step.kernel);
    else
      compute_->execute(step.op, *step.plan, step.bindings, workspace_.data());
  }
}

std::unique_ptr<Graph> Executable::capture(const std::vector<Step>& steps) {
  queue(steps);  // once without capturing: libraries load their code at the first launch, which no capture
                 // allows
  compute_->synchronize();
  compute_->begin_capture();
  try {
    queue(steps);
  } catch (...) {
    try {
      compute_->end_capture();  // or the stream would go on capturing
    } catch (const core::Error&) {
    }
    throw;
  }
  return compute_->end_capture();
}

// Allocates what this slot needs for such batches, unless it has it.
void Executable::prepare(Slot& slot, InputKind kind, OutputMask mask) {
  for (int i = 0; i < core::kOutputCount; i++) {
    if (!(mask >> i & 1) || slot.outputs[i].device.data()) continue;
    const size_t bytes = network_.plan.values[network_.plan.outputs[i]].elements() * batch_ * sizeof(float);
    const std::string name = std::string("the output '") + core::kOutputNames[i] + "'";
    slot.outputs[i].host = PinnedBuffer(device_, bytes, name);
    slot.outputs[i].device = DeviceBuffer(device_, bytes, name);
  }
  if (!graph_) return;
  auto& graph = slot.graphs[{kind, mask}];
  if (graph) return;
  const DeviceBuffer& input = slot.inputs[int(kind)].device;
  compute_->zero(input.data(), input.bytes());  // for the run before the capture
  graph = capture(steps(slot, kind, mask));
}

void Executable::submit(Slot& slot, InputKind kind, OutputMask mask) {
  const std::lock_guard<std::mutex> lock(mutex_);
  prepare(slot, kind, mask);
  const Slot::Staging& input = slot.inputs[int(kind)];
  slot.submitted = true;
  upload_->upload(input.device.data(), input.host.data(), input.host.bytes());
  upload_->record(*slot.uploaded);
  compute_->wait(*slot.uploaded);
  if (graph_)
    compute_->launch(*slot.graphs.at({kind, mask}));
  else
    queue(steps(slot, kind, mask));
  compute_->record(*slot.computed);
  download_->wait(*slot.computed);
  for (int i = 0; i < core::kOutputCount; i++)
    if (mask >> i & 1)
      download_->download(slot.outputs[i].host.data(), slot.outputs[i].device.data(),
                          slot.outputs[i].host.bytes());
  download_->record(*slot.done);
}

void Executable::release(Slot& slot) {
  if (slot.submitted) {  // given up half-way: nothing may be under way when the next one fills the slot
    const std::lock_guard<std::mutex> lock(mutex_);
    for (Stream* stream : {upload_.get(), compute_.get(), download_.get()}) {
      try {
        stream->synchronize();
      } catch (const core::Error&) {  // what led here has been reported
      }
    }
    slot.submitted = false;
  }
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    slot.busy = false;
  }
  free_.notify_one();
}

Executable::Lease::~Lease() {
  if (slot_) owner_->release(*slot_);
}

std::byte* Executable::Lease::input(InputKind kind) {
  Slot::Staging& staging = slot_->inputs[int(kind)];
  if (!staging.device.data()) {
    const std::lock_guard<std::mutex> lock(owner_->mutex_);
    const size_t element = kind == InputKind::kBytes ? 1 : sizeof(float);
    const size_t bytes = owner_->network_.plan.input().elements() * owner_->batch_ * element;
    staging.host = PinnedBuffer(owner_->device_, bytes, "the input");
    staging.device = DeviceBuffer(owner_->device_, bytes, "the input");
  }
  return staging.host.data();
}

void Executable::Lease::submit(InputKind kind, OutputMask mask) { owner_->submit(*slot_, kind, mask); }

void Executable::Lease::collect() {
  slot_->done->synchronize();
  slot_->submitted = false;
}

const float* Executable::Lease::output(int output) const {
  return reinterpret_cast<const float*>(slot_->outputs[output].host.data());
}

}  // namespace residual::cuda
