// The CUDA backend: splits batches into the sizes it has executables for, and keeps two in flight.
#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "core/backend.h"
#include "core/error.h"
#include "cuda/autotune.h"
#include "cuda/device.h"
#include "cuda/executable.h"
#include "cuda/plan_builder.h"
#include "cuda/planned_convs.h"

namespace residual::cuda {
namespace {

constexpr unsigned kMostBuilders = 8;  // threads that compile plans; each takes some 200 MB while it does

std::shared_ptr<Device> checked_device(int index) {
  const int count = static_cast<int>(list_devices().size());
  if (index < 0 || index >= count)
    throw core::Error(core::ErrorCode::kBackendUnavailable,
                      "There is no GPU " + std::to_string(index) + ": the driver reports " +
                          std::to_string(count) +
                          ". `nvidia-smi -L` lists them; CUDA_VISIBLE_DEVICES may hide some.");
  return open_device(index);
}

class CudaBackend final : public core::Backend {
 public:
  CudaBackend(core::Plan plan, const core::BackendOptions& options)
      : options_(options),
        device_(checked_device(options.device_index)),
        network_(std::move(plan), supported_precision(options.precision, device_->info().compute_capability)),
        builder_(
            device_->describe(),
            gpu_name(device_->info().compute_capability, device_->info().multiprocessors),
            PlanCache(options.cache_folder),
            static_cast<int>(std::min(kMostBuilders, std::max(1u, std::thread::hardware_concurrency())))),
        stream_(make_stream(device_)) {
    network_.weights.front() = upload_normalization(network_.plan.ops.front(), device_, *stream_);
  }

  void load_weights(size_t op, core::StoredWeights& weights, const float* bias) override {
    guarded([&] {
      const std::lock_guard<std::mutex> lock(mutex_);
      network_.weights[op] = upload_weights(network_.plan, network_.layout, network_.plan.ops[op], weights,
                                            bias, device_, *stream_);
    });
  }

  void prepare(int images) override {
    guarded([&] {
      const int largest = options_.batch_sizes.back();
      if (images >= largest) executable_for(largest);
      if (images % largest > 0) executable_for(images % largest);
    });
  }

  void run(const core::Input& input, const core::OutputBuffers& outputs,
           core::OpMilliseconds* times) override {
    if (times)
      throw core::Error(core::ErrorCode::kBackendUnavailable,
                        "Single operations can be timed on the CPU only: on a GPU they overlap. "
                        "Use device: 'cpu', or NVIDIA's `nsys profile`.");
    guarded([&] { run_parts(input, outputs); });
  }

  size_t bytes() const override {
    const std::lock_guard<std::mutex> lock(mutex_);
    size_t total = 0;
    for (const OpWeights& weights : network_.weights) total += weights.memory.bytes();
    for (const auto& [batch, executable] : executables_) total += executable->bytes();
    return total;
  }

  std::string description() const override { return device_->info().name; }

 private:
  struct Part {
    Executable::Lease lease;
    int begin = 0;  // images
    int count = 0;
  };

  // A lost device stays lost: whoever comes later is told so, instead of being given what it left in memory.
  template <typename Body>
  void guarded(Body body) {
    {
      const std::lock_guard<std::mutex> lock(lost_mutex_);
      if (!lost_.empty()) throw core::Error(core::ErrorCode::kDeviceLost, lost_);
    }
    try {
      body();
    } catch (const core::Error& error) {
      if (error.code() == core::ErrorCode::kDeviceLost) {
        const std::lock_guard<std::mutex> lock(lost_mutex_);
        lost_ = error.what();
      }
      throw;
    }
  }

  void run_parts(const core::Input& input, const core::OutputBuffers& outputs) {
    const InputKind kind = input.bytes ? InputKind::kBytes : InputKind::kFloats;
    const size_t image = network_.plan.input().elements() * (input.bytes ? 1 : sizeof(float));
    const auto* source = input.bytes ? reinterpret_cast<const std::byte*>(input.bytes)
                                     : reinterpret_cast<const std::byte*>(input.floats);
    OutputMask mask = 0;
    for (int i = 0; i < core::kOutputCount; i++)
      if (outputs[i]) mask |= 1u << i;
    if (mask == 0) return;

    std::deque<Part> under_way;
    for (int begin = 0; begin < input.batch;) {
      Executable& executable = executable_for(input.batch - begin);
      Part part{executable.acquire(/*wait=*/under_way.empty()), begin,
                std::min(executable.batch(), input.batch - begin)};
      if (!part.lease) {  // waiting while holding a slot could be waiting for oneself
        finish(under_way, outputs);
        continue;
      }
      std::memcpy(part.lease.input(kind), source + begin * image, part.count * image);
      part.lease.submit(kind, mask);
      begin += part.count;
      under_way.push_back(std::move(part));
    }
    while (!under_way.empty()) finish(under_way, outputs);
  }

  // Waits for the oldest part and copies its outputs.
  void finish(std::deque<Part>& under_way, const core::OutputBuffers& outputs) {
    Part& part = under_way.front();
    part.lease.collect();
    for (int i = 0; i < core::kOutputCount; i++) {
      if (!outputs[i]) continue;
      const size_t elements = network_.plan.values[network_.plan.outputs[i]].elements();
      std::memcpy(outputs[i] + part.begin * elements, part.lease.output(i),
                  part.count * elements * sizeof(float));
    }
    under_way.pop_front();
  }

  // For the smallest batch size that takes `images`, or the largest there is. Built on first use, which may
  // take minutes: nobody waits for it but those who want a size that is not there yet.
  Executable& executable_for(int images) {
    const std::vector<int>& sizes = options_.batch_sizes;
    const auto found = std::lower_bound(sizes.begin(), sizes.end(), images);
    const int batch = found == sizes.end() ? sizes.back() : *found;
    if (Executable* ready = find(batch)) return *ready;
    const std::lock_guard<std::mutex> building(building_);
    if (Executable* ready = find(batch)) return *ready;  // another wanted it, too
    std::unique_ptr<Executable> built = build(batch);
    const std::lock_guard<std::mutex> lock(mutex_);
    return *(executables_[batch] = std::move(built));
  }

  // Null unless it was built.
  Executable* find(int batch) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = executables_.find(batch);
    return found == executables_.end() ? nullptr : found->second.get();
  }

  std::unique_ptr<Executable> build(int batch) {
    const PlannedConvs convs = planned_convs(network_.plan, network_.layout, batch);
    ChoosePlan tune;
    if (options_.autotune)
      tune = [&](const ConvSpec& spec, const std::vector<Descriptor>& candidates) {
        return fastest_plan(spec, candidates, builder_.gpu(), device_, *stream_);
      };
    const std::vector<BuiltPlan> built = builder_.build(convs.specs, tune);
    std::vector<std::shared_ptr<const EnginePlan>> plans(network_.plan.ops.size());
    for (size_t op = 0; op < plans.size(); op++)
      if (convs.spec_of_op[op] != PlannedConvs::kNone) plans[op] = built[convs.spec_of_op[op]].plan;
    return std::make_unique<Executable>(network_, batch, plans, options_.graph, device_);
  }

  const core::BackendOptions options_;
  std::shared_ptr<Device> device_;
  Network network_;
  PlanBuilder builder_;
  std::unique_ptr<Stream> stream_;  // for weights and autotuning
  std::mutex building_;             // one size at a time: each has the threads of `builder_` and `stream_`
  mutable std::mutex mutex_;        // over the weights while they are loaded, and the map of executables
  std::map<int, std::unique_ptr<Executable>> executables_;  // by batch size
  std::mutex lost_mutex_;
  std::string lost_;  // why the device is lost; empty while it is not
};

}  // namespace
}  // namespace residual::cuda

namespace residual::core {

std::unique_ptr<Backend> create_backend(Plan plan, const BackendOptions& options) {
  return std::make_unique<cuda::CudaBackend>(std::move(plan), options);
}

double multiply_add_rate(const std::string&, Precision, int, double) {
  throw Error(ErrorCode::kBackendUnavailable,
              "A GPU's multiply-add rate is not measured here; `npm run bench:gpu` measures its ceilings.");
}

ReducedKernels reduced_kernels(const std::string&) { return {}; }

const char* backend_name() { return "cuda"; }

std::vector<std::string> backend_capabilities() {
  std::vector<std::string> names;
  for (const cuda::DeviceInfo& info : cuda::list_devices())
    names.push_back(info.name + " (compute capability " + std::to_string(info.compute_capability / 10) + "." +
                    std::to_string(info.compute_capability % 10) + ")");
  return names;
}

}  // namespace residual::core
