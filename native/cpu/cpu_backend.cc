// How does a plan run on the CPU? Op by op over one arena, a few pictures of the batch at a time.
#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>

#include "core/backend.h"
#include "core/error.h"
#include "core/memory_plan.h"
#include "cpu/convolution.h"
#include "cpu/isa.h"
#include "cpu/light_ops.h"
#include "cpu/parts.h"
#include "cpu/thread_pool.h"
#include "cpu/workspace.h"

namespace residual::cpu {
namespace {

using core::OpKind;

// Activations of the pictures that pass through the network together, per thread. More would leave the
// caches, and memory would grow with the batch; fewer, and small pictures leave the register tiles half
// empty. Measured for ResNet-50 at 224x224 (one picture at a time is best, by 5 % over four) and the bundled
// model (32 at a time, three times as fast as one).
constexpr size_t kSliceBytes = size_t(8) << 20;
constexpr size_t kMostSlicePictures = 64;

class CpuBackend final : public core::Backend {
 public:
  CpuBackend(core::Plan plan, const core::BackendOptions& options)
      : plan_(std::move(plan)),
        kernels_(select_kernels(options.isa)),
        memory_(plan_arena(plan_)),
        exact_(options.exact),
        slice_pictures_(slice_pictures(memory_, options.threads)),
        convs_(plan_.ops.size()),
        pool_(options.threads) {}

  void load_weights(size_t op_index, const float* weight, const float* bias) override {
    const core::Op& op = plan_.ops[op_index];
    ConvGeometry geometry;
    geometry.src = plan_.src(op);
    geometry.dst = plan_.dst(op);
    geometry.kernel = op.kernel;
    geometry.stride = op.stride;
    geometry.padding = op.padding;
    geometry.groups = op.groups;
    geometry.relu = op.relu;
    auto packed = make_convolution(geometry, kernels_, weight, bias, exact_);  // several at once
    const std::lock_guard<std::mutex> lock(mutex_);
    convs_[op_index] = std::move(packed);
  }

  void run(const core::Input& input, const core::OutputBuffers& outputs) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    prepare(std::min(input.batch, slice_pictures_));
    const ThreadPool::Run busy(pool_);
    const int slices = divide_up(input.batch, slice_pictures_);
    for (int slice = 0; slice < slices; slice++) {
      const int begin = part(input.batch, slices, slice), end = part(input.batch, slices, slice + 1);
      run_slice(input, begin, end - begin);
      for (int i = 0; i < core::kOutputCount; i++) {
        if (!outputs[i]) continue;
        const size_t elements = plan_.values[plan_.outputs[i]].elements();
        std::memcpy(outputs[i] + begin * elements, at(plan_.outputs[i]),
                    (end - begin) * elements * sizeof(float));
      }
    }
  }

  size_t bytes() const override {
    const std::lock_guard<std::mutex> lock(mutex_);
    size_t total = arena_.bytes() + workspace_.bytes();
    for (const auto& conv : convs_)
      if (conv) total += conv->bytes();
    return total;
  }

  std::string description() const override { return kernels_.name; }

 private:
  static core::MemoryPlan plan_arena(const core::Plan& plan) {
    std::vector<size_t> sizes;
    for (const core::Shape& value : plan.values) sizes.push_back(value.elements());
    return core::plan_memory(plan, sizes, kAlignment / sizeof(float));
  }

  static int slice_pictures(const core::MemoryPlan& memory, int threads) {
    const size_t bytes = memory.size * sizeof(float);
    return static_cast<int>(std::clamp(kSliceBytes * threads / bytes, size_t(1), kMostSlicePictures));
  }

  // The arena and the workspace for slices of up to `batch` pictures.
  void prepare(int batch) {
    if (batch <= prepared_batch_) return;
    prepared_batch_ = 0;
    arena_ = AlignedBuffer();  // give back before taking
    workspace_ = Workspace();
    WorkspaceSize size;
    for (size_t i = 0; i < plan_.ops.size(); i++) {
      const core::Op& op = plan_.ops[i];
      if (convs_[i]) size = size.max(convs_[i]->workspace_size(batch));
      if (op.kind == OpKind::kMaxPool)
        size = size.max({/*shared=*/0, /*per_worker=*/size_t(op.kernel) * op.kernel * sizeof(void*)});
    }
    workspace_ = Workspace(pool_.threads(), size);
    arena_ = AlignedBuffer(memory_.size * batch);
    prepared_batch_ = batch;
  }

  float* at(int value) { return arena_.data() + memory_.offsets[value] * prepared_batch_; }

  void run_slice(const core::Input& input, int begin, int batch) {
    for (size_t i = 0; i < plan_.ops.size(); i++) {
      const core::Op& op = plan_.ops[i];
      float* dst = at(op.dst);
      const float* src = op.src == core::kNone ? nullptr : at(op.src);
      switch (op.kind) {
        case OpKind::kNormalize: {
          const size_t elements = plan_.dst(op).elements();
          if (input.floats)
            std::memcpy(dst, input.floats + begin * elements, batch * elements * sizeof(float));
          else
            normalize(dst, input.bytes + begin * elements, op, plan_.dst(op), batch, kernels_, pool_);
          break;
        }
        case OpKind::kConv:
        case OpKind::kLinear:
          convs_[i]->run(dst, src, op.residual == core::kNone ? nullptr : at(op.residual), batch, pool_,
                         workspace_);
          break;
        case OpKind::kMaxPool:
          max_pool(dst, src, op, plan_.dst(op), plan_.src(op), batch, kernels_, pool_, workspace_);
          break;
        case OpKind::kAvgPool:
          avg_pool(dst, src, plan_.src(op), batch, kernels_, pool_);
          break;
        case OpKind::kSoftmax:
          softmax(dst, src, plan_.src(op).channels, batch * plan_.src(op).height * plan_.src(op).width);
          break;
      }
    }
  }

  mutable std::mutex mutex_;  // one thing at a time: a run uses every thread already
  core::Plan plan_;
  const Kernels& kernels_;
  core::MemoryPlan memory_;
  bool exact_;
  int slice_pictures_;
  std::vector<std::unique_ptr<Convolution>> convs_;  // by op; loaded weights, packed
  AlignedBuffer arena_;
  int prepared_batch_ = 0;  // pictures the arena and the workspace have room for
  Workspace workspace_;
  ThreadPool pool_;
};

}  // namespace
}  // namespace residual::cpu

namespace residual::core {

std::unique_ptr<Backend> create_backend(Plan plan, const BackendOptions& options) {
  return std::make_unique<cpu::CpuBackend>(std::move(plan), options);
}

const char* backend_name() { return "cpu"; }

void open_libraries(const LibraryCandidates&) {}  // it needs none

std::vector<std::string> backend_capabilities() {
  std::vector<std::string> names;
  for (const cpu::Kernels* kernels : cpu::supported_kernels()) names.emplace_back(kernels->name);
  return names;
}

std::vector<CompiledOp> compile_ahead(const Plan&, const CompileOptions&) {
  throw Error(ErrorCode::kBackendUnavailable, "The CPU backend has nothing to compile ahead of time.");
}

}  // namespace residual::core
