#include "cuda/autotune.h"

#include <algorithm>
#include <limits>

namespace residual::cuda {
namespace {

constexpr int kWarmUps = 2;
constexpr int kRuns = 8;  // timed together: a single run is too short for the clock

size_t bytes_of(cudnnDataType_t type) { return type == CUDNN_DATA_FLOAT ? 4 : 2; }

// Memory for every tensor of a graph, zeroed: a convolution's time does not depend on its numbers.
class Operands {
 public:
  Operands(const ConvSpec& spec, const std::shared_ptr<Device>& device, Stream& stream) : device_(device) {
    const size_t storage = bytes_of(storage_type(spec.precision));
    const size_t dst = size_t(spec.batch) * spec.dst_height * spec.dst_width * spec.dst_channels;
    const size_t per_channel = spec.dst_channels * sizeof(float);
    add(kSrc, size_t(spec.batch) * spec.height * spec.width * spec.channels * storage);
    add(kWeight,
        size_t(spec.dst_channels) * spec.kernel * spec.kernel * (spec.channels / spec.groups) * storage);
    if (spec.scale) add(kScale, per_channel);
    add(kBias, per_channel);
    if (spec.residual) add(kResidual, dst * storage);
    add(kDst, dst * bytes_of(spec.dst_type()));
    for (const DeviceBuffer& buffer : buffers_) stream.zero(buffer.data(), buffer.bytes());
  }

  const std::vector<Binding>& bindings() const { return bindings_; }

 private:
  void add(Uid uid, size_t bytes) {
    buffers_.emplace_back(device_, bytes, "autotuning");
    bindings_.push_back({uid, buffers_.back().data()});
  }

  std::shared_ptr<Device> device_;
  std::vector<DeviceBuffer> buffers_;
  std::vector<Binding> bindings_;
};

// Waits at the end of its scope for everything queued on the stream. That work uses memory that is freed
// next, even if a candidate failed half-way or there was none to time.
class Drained {
 public:
  explicit Drained(Stream& stream) : stream_(stream) {}
  Drained(const Drained&) = delete;
  Drained& operator=(const Drained&) = delete;
  ~Drained() {
    try {
      stream_.synchronize();
    } catch (const core::Error&) {
      // The failure has been reported, or the device is lost, which every later call reports.
    }
  }

 private:
  Stream& stream_;
};

double milliseconds(const EnginePlan& plan, const Operands& operands, const std::shared_ptr<Device>& device,
                    Stream& stream) {
  const DeviceBuffer workspace(device, plan.workspace_bytes, "the workspace of autotuning");
  const Drained drained(stream);
  const auto begin = make_event(device, EventClock::kTimed), end = make_event(device, EventClock::kTimed);
  for (int i = 0; i < kWarmUps; i++)
    stream.execute("autotuning", plan, operands.bindings(), workspace.data());
  stream.record(*begin);
  for (int i = 0; i < kRuns; i++) stream.execute("autotuning", plan, operands.bindings(), workspace.data());
  stream.record(*end);
  end->synchronize();
  return end->milliseconds_since(*begin) / kRuns;
}

}  // namespace

EnginePlan fastest_plan(const ConvSpec& spec, const std::vector<Descriptor>& candidates,
                        const Descriptor& gpu, const std::shared_ptr<Device>& device, Stream& stream) {
  const Operands operands(spec, device, stream);
  const Drained drained(stream);
  EnginePlan best;
  double best_time = std::numeric_limits<double>::infinity();
  std::string reason = "cuDNN proposes no engine";
  for (const Descriptor& candidate : candidates) {
    try {
      EnginePlan plan = build_engine_plan(candidate, gpu);
      if (plan.workspace_bytes > kMaxWorkspaceBytes) continue;
      const double time = milliseconds(plan, operands, device, stream);
      if (time < best_time) {
        best_time = time;
        best = std::move(plan);
      }
    } catch (const core::Error& error) {
      if (error.code() == core::ErrorCode::kDeviceLost) throw;
      reason = error.what();
    }
  }
  if (best_time == std::numeric_limits<double>::infinity())
    throw core::Error(core::ErrorCode::kInternal, "No engine can run the graph: " + reason);
  return best;
}

}  // namespace residual::cuda
