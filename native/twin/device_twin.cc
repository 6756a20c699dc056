// The seam of cuda/device.h on the host: what tests run the CUDA backend on.
//
// Told what to be by environment variables, read when a device is opened:
//   RESIDUAL_TWIN_GPU       file with cuDNN's description of a GPU (gpus/*.json)
//   RESIDUAL_TWIN_SEED      chooses among the orders that streams and events allow; 1 unless given
//   RESIDUAL_TWIN_FAULTS    what is to fail: "allocate:N", "execute:N", "launch:N" (of a kernel or a
//                           captured graph), "lose:N" (the device, for good), "plan:N" (cuDNN refuses to
//                           build it), the N-th of its kind from the opening of the device on; "plans:N",
//                           that one and all after it; several with commas
//   RESIDUAL_TWIN_LOG       file to which all that was done is appended, a line each
//   RESIDUAL_TWIN_HOLD      while there is such a file no library is opened, no device, and no plan built
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <sstream>
#include <string_view>

#include "core/error.h"
#include "cuda/device.h"
#include "twin/cudnn_faults.h"
#include "twin/faults.h"
#include "twin/graph_interpreter.h"
#include "twin/json.h"
#include "twin/kernel_runner.h"
#include "twin/memory.h"
#include "twin/scheduler.h"
#include "twin/watch.h"

namespace residual::cuda {
namespace {

using twin::Space;

std::string environment(const char* name, const char* otherwise = "") {
  const char* value = std::getenv(name);
  return value ? value : otherwise;
}

std::string gpu_text() {
  const std::string path = environment("RESIDUAL_TWIN_GPU");
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  if (!file)
    throw core::Error(core::ErrorCode::kBackendUnavailable,
                      "twin: RESIDUAL_TWIN_GPU is not a readable file: '" + path + "'.");
  return text.str();
}

DeviceInfo info_of(const std::string& text) {
  const twin::Json gpu = twin::Json::parse(text);
  DeviceInfo info;
  info.name = gpu.at("deviceName").text() + " (twin)";
  info.compute_capability = static_cast<int>(gpu.at("deviceVer").integer() / 10);
  info.multiprocessors = static_cast<int>(gpu.at("multiProcessorCount").integer());
  info.total_bytes = gpu.at("totalGlobalMem").integer();
  return info;
}

size_t hash(const void* data, size_t bytes) {
  return std::hash<std::string_view>()({static_cast<const char*>(data), bytes});
}

class TwinDevice final : public Device {
 public:
  TwinDevice()
      : text_(gpu_text()),
        info_(info_of(text_)),
        faults_(environment("RESIDUAL_TWIN_FAULTS")),
        scheduler(std::stoull(environment("RESIDUAL_TWIN_SEED", "1"))) {
    const int all = faults_.left("plans");
    twin::refuse_plans(all ? all : faults_.left("plan"), all > 0);
    twin::watch(environment("RESIDUAL_TWIN_LOG"), environment("RESIDUAL_TWIN_HOLD"));
    if (!twin::pass_hold()) throw core::Error(core::ErrorCode::kInternal, "twin: the device is held up.");
    twin::done("device opened");
  }

  const DeviceInfo& info() const override { return info_; }
  Descriptor describe() const override {
    Descriptor result(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
    result.set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, text_);
    return std::move(result.finalize("describe the GPU"));
  }

  std::byte* allocate(Space space, size_t bytes, const std::string& name) {
    const size_t used = memory.live_bytes();
    if (faults_.due("allocate") || used + bytes > info_.total_bytes)
      throw no_room(info_, name, bytes, info_.total_bytes - used);
    return memory.allocate(space, bytes, name);
  }

  // Before every call that could find the device lost.
  void check_alive(const char* what) {
    if (faults_.due("lose")) lost_ = true;
    if (lost_)
      throw core::Error(core::ErrorCode::kDeviceLost, std::string("This process has lost the GPU: ") + what +
                                                          ": twin. Restart the process.");
  }
  void check_fault(const char* kind) {
    if (faults_.due(kind))
      throw core::Error(core::ErrorCode::kInternal, std::string("twin: ") + kind + " fails.");
  }

 private:
  const std::string text_;
  const DeviceInfo info_;
  twin::Faults faults_;
  bool lost_ = false;

 public:
  twin::Memory memory;
  twin::Scheduler scheduler;
};

TwinDevice& twin_device(const std::shared_ptr<Device>& device) { return static_cast<TwinDevice&>(*device); }

class TwinEvent final : public Event {
 public:
  TwinEvent(std::shared_ptr<Device> device, EventClock clock) : device_(std::move(device)), clock_(clock) {}
  void synchronize() override {
    twin_device(device_).check_alive("wait for the GPU");
    twin_device(device_).scheduler.finish(*state);
  }
  // There is no clock that would mean anything: the first candidate is as good as any.
  double milliseconds_since(const Event& earlier) const override {
    for (const EventClock clock : {clock_, static_cast<const TwinEvent&>(earlier).clock_})
      if (clock != EventClock::kTimed)
        throw core::Error(core::ErrorCode::kInternal, "twin: the time of an event without a clock is read.");
    return 1.0;
  }

  const std::shared_ptr<twin::EventState> state = std::make_shared<twin::EventState>();

 private:
  std::shared_ptr<Device> device_;
  EventClock clock_;
};

class TwinGraph final : public Graph {
 public:
  std::vector<twin::Task> tasks;
};

class TwinStream final : public Stream {
 public:
  explicit TwinStream(const std::shared_ptr<Device>& device)
      : device_(device), twin_(twin_device(device)), queue_(twin_.scheduler.add_queue()) {}

  void upload(void* dst, const void* src, size_t bytes) override {
    copy("upload", Space::kDevice, dst, Space::kPinned, src, bytes);
  }
  void download(void* dst, const void* src, size_t bytes) override {
    copy("download", Space::kPinned, dst, Space::kDevice, src, bytes);
  }

  void zero(void* dst, size_t bytes) override {
    add("zero", [this, dst, bytes] {
      twin_.memory.write(Space::kDevice, dst, bytes, "zero");
      std::fill_n(static_cast<std::byte*>(dst), bytes, std::byte{0});
    });
  }

  void execute(const std::string& op, const EnginePlan& plan, const std::vector<Binding>& bindings,
               void* workspace) override {
    twin_.check_alive("execute a plan");
    twin_.check_fault("execute");
    auto graph = std::make_shared<twin::PlanGraph>(plan.json, plan.precision == Precision::kTf32);
    std::map<int64_t, void*> memory;
    for (const Binding& binding : bindings) memory[binding.uid] = binding.data;
    add(op, [this, op, graph, memory, workspace, bytes = plan.workspace_bytes] {
      twin::Accesses accesses(twin_.memory);
      for (const twin::Tensor& tensor : graph->tensors()) {
        if (tensor.is_virtual) continue;
        const auto bound = memory.find(tensor.uid);
        const std::string user = "tensor " + std::to_string(tensor.uid) + " of '" + op + "'";
        if (bound == memory.end())
          throw core::Error(core::ErrorCode::kInternal, "twin: " + user + " is not bound.");
        if (reinterpret_cast<uintptr_t>(bound->second) % 16 != 0)
          throw core::Error(core::ErrorCode::kInternal, "twin: " + user + " is not aligned to 16 bytes.");
        if (tensor.is_result)
          accesses.write(bound->second, tensor.bytes(), user);
        else
          accesses.read(bound->second, tensor.bytes(), user);
      }
      accesses.check();
      // What a real plan would leave there is of no use to anyone.
      twin_.memory.poison(workspace, bytes, "the workspace of '" + op + "'");
      graph->execute(memory);
    });
  }

  void launch(const std::string& op, const KernelLaunch& launch) override {
    twin_.check_alive("launch a kernel");
    twin_.check_fault("launch");
    const std::string user = std::string(kKernelNames[int(launch.kernel)]) + " for '" + op + "'";
    add(user, [this, user, launch] { twin::run_kernel(launch, twin_.memory, user); });
  }

  void record(Event& event) override {
    twin_.scheduler.record(*queue_, static_cast<TwinEvent&>(event).state);
  }
  void wait(Event& event) override { twin_.scheduler.wait(*queue_, static_cast<TwinEvent&>(event).state); }
  void synchronize() override {
    twin_.check_alive("wait for the GPU");
    twin_.scheduler.finish(*queue_);
  }

  void begin_capture() override { captured_.emplace(); }
  std::unique_ptr<Graph> end_capture() override {
    auto graph = std::make_unique<TwinGraph>();
    graph->tasks = std::move(*captured_);
    captured_.reset();
    return graph;
  }
  void launch(Graph& graph) override {
    twin_.check_alive("launch a graph");
    twin_.check_fault("launch");
    for (const twin::Task& task : static_cast<TwinGraph&>(graph).tasks) twin_.scheduler.push(*queue_, task);
  }

 private:
  void copy(const char* name, Space to, void* dst, Space from, const void* src, size_t bytes) {
    twin_.check_alive(name);
    // The host may write what is pinned at any time, but must not while a copy of it is under way.
    const size_t queued = from == Space::kPinned ? hash(src, bytes) : 0;
    add(name, [this, name, to, dst, from, src, bytes, queued] {
      twin_.memory.read(from, src, bytes, name);
      if (from == Space::kPinned && hash(src, bytes) != queued)
        throw core::Error(core::ErrorCode::kInternal,
                          "twin: '" + twin_.memory.name_of(src) + "' changed before " + name + " was done.");
      twin_.memory.write(to, dst, bytes, name);
      std::copy_n(static_cast<const std::byte*>(src), bytes, static_cast<std::byte*>(dst));
    });
  }

  void add(const std::string& name, std::function<void()> work) {
    const auto run = [this, name, work = std::move(work)] {
      work();
      twin_.memory.check_fences(name);
      twin::done(name);
    };
    twin::Task task{name, run, nullptr, 0, false};
    if (captured_)
      captured_->push_back(std::move(task));
    else
      twin_.scheduler.push(*queue_, std::move(task));
  }

  std::shared_ptr<Device> device_;
  TwinDevice& twin_;
  std::shared_ptr<twin::Scheduler::Queue> queue_;
  std::optional<std::vector<twin::Task>> captured_;
};

}  // namespace

// With what is in use in its name: what is left when all sessions are closed has leaked.
std::vector<DeviceInfo> list_devices() {
  DeviceInfo info = info_of(gpu_text());
  info.name += ", " + twin::Memory::in_use();
  return {info};
}
std::shared_ptr<Device> open_device(int) { return std::make_shared<TwinDevice>(); }
std::unique_ptr<Stream> make_stream(const std::shared_ptr<Device>& device) {
  return std::make_unique<TwinStream>(device);
}
std::unique_ptr<Event> make_event(const std::shared_ptr<Device>& device, EventClock clock) {
  return std::make_unique<TwinEvent>(device, clock);
}

DeviceBuffer::DeviceBuffer(std::shared_ptr<Device> device, size_t bytes, const std::string& name)
    : device_(std::move(device)), bytes_(bytes) {
  if (bytes > 0) data_ = twin_device(device_).allocate(Space::kDevice, bytes, name);
}
DeviceBuffer& DeviceBuffer::operator=(DeviceBuffer&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}
DeviceBuffer::~DeviceBuffer() {
  if (data_) twin_device(device_).memory.free(data_);
}

PinnedBuffer::PinnedBuffer(std::shared_ptr<Device> device, size_t bytes, const std::string& name)
    : device_(std::move(device)), bytes_(bytes) {
  if (bytes == 0) return;
  data_ = twin_device(device_).allocate(Space::kPinned, bytes, name);
  std::fill_n(data_, bytes, std::byte{0});
  twin_device(device_).memory.write(Space::kPinned, data_, bytes, name);  // and the host may at any time
}
PinnedBuffer& PinnedBuffer::operator=(PinnedBuffer&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}
PinnedBuffer::~PinnedBuffer() {
  if (data_) twin_device(device_).memory.free(data_);
}

}  // namespace residual::cuda
