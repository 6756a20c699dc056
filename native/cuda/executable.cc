#include "cuda/executable.h"

#include <algorithm>

#include "core/error.h"

namespace residual::cuda {
namespace {

constexpr int kSlots = 2;

std::string of_batches(int batch) { return " of batches of " + std::to_string(batch); }

size_t largest_workspace(const std::vector<std::shared_ptr<const EnginePlan>>& plans) {
  size_t bytes = 0;
  for (const auto& plan : plans)
    if (plan) bytes = std::max(bytes, size_t(plan->workspace_bytes));
  return bytes;
}

}  // namespace

class Executable::Slot {
 public:
  explicit Slot(const std::shared_ptr<Device>& device)
      : uploaded(make_event(device, EventClock::kNone)),
        computed(make_event(device, EventClock::kNone)),
        done(make_event(device, EventClock::kNone)) {}

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
    : network_(network),
      batch_(batch),
      graph_(graph),
      device_(std::move(device)),
      arena_(device_, network.layout.arena_bytes(batch), "the activations" + of_batches(batch)),
      workspace_(device_, largest_workspace(plans), "the workspace" + of_batches(batch)),
      builder_(network, batch, arena_.data()) {
  for (size_t op = 1; op < network.plan.ops.size(); op++) body_.push_back(builder_.op(op, plans[op]));
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

std::vector<Step> Executable::steps(const Slot& slot, InputKind kind, OutputMask mask) const {
  std::vector<Step> result{builder_.import(kind, slot.inputs[int(kind)].device.data())};
  const std::vector<bool> needed = needed_ops(network_.plan, mask);
  for (size_t op = 1; op < needed.size(); op++)
    if (needed[op]) result.push_back(body_[op - 1]);
  for (int i = 0; i < core::kOutputCount; i++)
    if (mask >> i & 1) result.push_back(builder_.output(i, slot.outputs[i].device.data()));
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
