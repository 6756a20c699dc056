// The CPU backend: runs a plan op by op over one arena, on as many images of the batch at a time as slices.h
// says.
#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>

#include "core/backend.h"
#include "core/error.h"
#include "cpu/capture.h"
#include "cpu/convolution.h"
#include "cpu/denormals.h"
#include "cpu/dot_choice.h"
#include "cpu/isa.h"
#include "cpu/light_ops.h"
#include "cpu/multiply_add_rate.h"
#include "cpu/observer.h"
#include "cpu/op_clock.h"
#include "cpu/precisions.h"
#include "cpu/reduced_ops.h"
#include "cpu/slices.h"
#include "cpu/thread_pool.h"
#include "cpu/workspace.h"

namespace residual::cpu {
namespace {

using core::OpKind;

// Networks with more weights than this are computed directly by default. Winograd's weights take up to four
// times as much memory: a gigabyte for a ResNet-152 of twice the usual width, half as much again as
// onnxruntime.
constexpr size_t kMostWeightBytes = 400'000'000;

Precedence precedence_of(const core::Plan& plan, bool exact) {
  size_t weights = 0;
  for (const core::Op& op : plan.ops) weights += core::weight_shape(plan, op).count();
  if (exact) return Precedence::kExactness;
  return weights * sizeof(float) > kMostWeightBytes ? Precedence::kMemory : Precedence::kSpeed;
}

// Of an op that takes weights.
ConvGeometry geometry_of(const core::Plan& plan, const core::Op& op) {
  ConvGeometry geometry;
  geometry.src = plan.src(op);
  geometry.dst = plan.dst(op);
  geometry.kernel = op.kernel;
  geometry.stride = op.stride;
  geometry.padding = op.padding;
  geometry.groups = op.groups;
  geometry.relu = op.relu;
  return geometry;
}

// The kernels for an op that computes with fewer bits than float32; null for others.
const DotKernels* dot_kernels(const core::Plan& plan, const core::Op& op, const Isa& isa) {
  return core::row_of(op.kind).weighted ? dot_kernels_for(plan.src(op).precision, isa) : nullptr;
}

// The algorithms for an op, the one called `wanted` first ("": the table's choice). None for an op without
// weights.
std::vector<Algorithm> ordered_algorithms(const core::Plan& plan, const core::Op& op, const Isa& isa,
                                          Precedence precedence, const std::string& wanted) {
  std::vector<Algorithm> all;
  if (const DotKernels* const dot = dot_kernels(plan, op, isa))
    all = dot_algorithms_for(geometry_of(plan, op), plan.src(op), *dot, precedence);
  else if (core::row_of(op.kind).weighted)
    all = algorithms_for(geometry_of(plan, op), *isa.fp32, precedence);
  if (wanted.empty()) return all;
  const auto is_wanted = [&](const Algorithm& algorithm) { return algorithm.name() == wanted; };
  const auto chosen = std::find_if(all.begin(), all.end(), is_wanted);
  if (chosen == all.end())
    throw core::Error(core::ErrorCode::kInternal,
                      "Operation '" + op.name + "' has no algorithm '" + wanted + "'" +
                          (precedence == Precedence::kExactness ? " that is exact." : "."));
  std::rotate(all.begin(), chosen, chosen + 1);
  return all;
}

// Of an op whose source is not float32.
DotNumbers numbers_of(const core::Plan& plan, const core::Op& op) {
  DotNumbers numbers = {plan.src(op), plan.dst(op), nullptr, {}};
  if (op.residual != core::kNone) numbers.residual = &plan.values[op.residual];
  const core::Op& first = plan.ops.front();
  if (op.src == first.dst && plan.src(op).precision == core::Precision::kUint8)
    numbers.bytes = {&first.mean, &first.std};
  return numbers;
}

class CpuBackend final : public core::Backend {
 public:
  CpuBackend(core::Plan plan, const core::BackendOptions& options)
      : plan_(std::move(plan)),
        isa_(select_isa(options.isa)),
        kernels_(*isa_.fp32),
        convs_(plan_.ops.size()),
        pool_(options.threads) {
    check_precisions(plan_, isa_);
    const Precedence precedence = precedence_of(plan_, options.exact);
    for (size_t i = 0; i < plan_.ops.size(); i++)
      algorithms_.push_back(ordered_algorithms(plan_, plan_.ops[i], isa_, precedence,
                                               options.algorithms.empty() ? "" : options.algorithms[i]));
  }

  void load_weights(size_t op_index, core::StoredWeights& weights, const float* bias) override {
    auto packed = pack(op_index, weights, bias);  // several at once
    const std::lock_guard<std::mutex> lock(mutex_);
    convs_[op_index] = std::move(packed);
  }

  void run(const core::Input& input, const core::OutputBuffers& outputs,
           core::OpMilliseconds* times) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    run_watched(input, outputs, /*watcher=*/nullptr);
    if (times) *times = clock_.times();
  }

  void observe(const core::Input& input, const core::OutputBuffers& outputs) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!observer_) observer_ = std::make_unique<Observer>(plan_, pool_);
    run_watched(input, outputs, observer_.get());
  }

  std::vector<core::Observation> observations() const override {
    const std::lock_guard<std::mutex> lock(mutex_);
    return observer_ ? observer_->observations() : std::vector<core::Observation>(plan_.ops.size());
  }

  void capture(const core::Input& input, std::vector<std::vector<float>>& results) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    Capture capture(plan_, input.batch, results);
    run_watched(input, core::OutputBuffers{}, &capture);
  }

  size_t bytes() const override {
    const std::lock_guard<std::mutex> lock(mutex_);
    size_t total = arena_.bytes() + workspace_.bytes();
    for (const auto& conv : convs_)
      if (conv) total += conv->bytes();
    return total;
  }

  std::string description() const override {
    const char* name = kernels_.name;
    for (const core::Op& op : plan_.ops)
      if (const DotKernels* const dot = dot_kernels(plan_, op, isa_)) name = dot->name;
    return name;
  }

  std::vector<std::vector<std::string>> algorithms() const override {
    std::vector<std::vector<std::string>> names;
    for (const std::vector<Algorithm>& all : algorithms_) {
      names.emplace_back();
      for (const Algorithm& algorithm : all) names.back().push_back(algorithm.name());
    }
    return names;
  }

 private:
  // Runs a batch; `watcher`, if any, sees what every op writes.
  void run_watched(const core::Input& input, const core::OutputBuffers& outputs, Watcher* watcher) {
    clock_.reset(plan_.ops.size());
    prepare(std::min(input.batch, Slices::kMostImages));
    const ThreadPool::Busy busy(pool_);
    const FlushDenormals flush;
    slices_.each(input.batch, [&](const Slices::Level& level, Range images) {
      run_ops(input, level, images, watcher);
      copy_outputs(input, outputs, level, images);
    });
  }

  // Slices, arena and workspace for batches of `batch` images.
  void prepare(int batch) {
    if (batch <= prepared_batch_) return;
    prepared_batch_ = 0;
    arena_ = AlignedBuffer();  // free before allocating
    workspace_ = Workspace();
    slices_ = Slices(plan_, batch, pool_.threads());
    WorkspaceSize size;
    for (const Slices::Level& level : slices_.levels())
      for (int i = level.begin; i < level.end; i++) {
        const core::Op& op = plan_.ops[i];
        if (convs_[i]) size = size.max(convs_[i]->workspace_size(level.images, pool_.threads()));
        size = size.max(light_op_workspace(op));
      }
    workspace_ = Workspace(pool_.threads(), size);
    arena_ = AlignedBuffer(slices_.arena_bytes() / sizeof(float));
    prepared_batch_ = batch;
  }

  std::byte* at(int value, const Slices::Level& level) {
    return reinterpret_cast<std::byte*>(arena_.data()) + slices_.offset(value, level);
  }

  // Whether a run finds the value in its input: floats come normalised.
  bool is_given(int value, const core::Input& input) const {
    return input.floats && value == plan_.ops.front().dst &&
           plan_.values[value].precision == core::Precision::kFp32;
  }

  // What an op of `level` reads for `images`; null for kNone. Where the caller has it, it is read there.
  const void* read(int value, const core::Input& input, const Slices::Level& level, Range images) {
    if (value == core::kNone) return nullptr;
    if (is_given(value, input)) return input.floats + images.begin * plan_.values[value].elements();
    return at(value, level);
  }

  void copy_outputs(const core::Input& input, const core::OutputBuffers& outputs, const Slices::Level& level,
                    Range images) {
    for (int i = 0; i < core::kOutputCount; i++) {
      if (!outputs[i]) continue;
      const core::Value& value = plan_.values[plan_.outputs[i]];
      for (int op = level.begin; op < level.end; op++)
        if (plan_.ops[op].dst == plan_.outputs[i])
          to_floats(outputs[i] + images.begin * value.elements(),
                    read(plan_.outputs[i], input, level, images), value, images.size() * value.elements());
    }
  }

  void run_ops(const core::Input& input, const Slices::Level& level, Range images, Watcher* watcher) {
    clock_.start();
    for (int i = level.begin; i < level.end; i++) {
      if (!is_given(plan_.ops[i].dst, input)) run_op(i, input, level, images);
      clock_.lap(i);
      const int dst = plan_.ops[i].dst;
      if (watcher) watcher->see(i, plan_.values[dst], at(dst, level), images);
    }
  }

  void run_op(int index, const core::Input& input, const Slices::Level& level, Range images) {
    const core::Op& op = plan_.ops[index];
    void* const dst = at(op.dst, level);
    if (convs_[index])
      return convs_[index]->run(dst, read(op.src, input, level, images),
                                read(op.residual, input, level, images), images.size(), pool_, workspace_);
    LightOp light = {plan_, op, images.size(), dst, {}, {}};
    if (index == 0) light.input = part_of(input, images);
    const core::OpRow& row = core::row_of(op.kind);
    for (size_t i = 0; i < row.operands.size(); i++)
      if (row.operands[i].name) light.operands[i] = read(op.*row.operands[i].value, input, level, images);
    run_light_op(light, kernels_, pool_, workspace_);
  }

  core::Input part_of(const core::Input& input, Range images) const {
    const size_t skipped = images.begin * plan_.input().elements();
    return {input.bytes ? input.bytes + skipped : nullptr, input.floats ? input.floats + skipped : nullptr,
            images.size()};
  }

  std::unique_ptr<Convolution> pack(size_t op_index, core::StoredWeights& weights, const float* bias) {
    const core::Op& op = plan_.ops[op_index];
    const ConvGeometry geometry = geometry_of(plan_, op);
    const Algorithm& algorithm = algorithms_[op_index].front();
    if (const DotKernels* const dot = dot_kernels(plan_, op, isa_))
      return make_dot_convolution(geometry, numbers_of(plan_, op), *dot, algorithm, weights, bias, weights_);
    return make_convolution(geometry, kernels_, algorithm, weights, bias, weights_);
  }

  mutable std::mutex mutex_;  // one thing at a time: a run uses every thread already
  core::Plan plan_;
  const Isa& isa_;
  const Kernels& kernels_;
  std::vector<std::vector<Algorithm>> algorithms_;  // by op: all it can be computed by; the first one is used
  PageArena weights_;                               // what the convolutions hold
  std::vector<std::unique_ptr<Convolution>> convs_;  // by op; loaded weights, packed
  AlignedBuffer arena_;
  Slices slices_;
  int prepared_batch_ = 0;  // what slices, arena and workspace are made for
  Workspace workspace_;
  OpClock clock_;
  ThreadPool pool_;
  std::unique_ptr<Observer> observer_;  // once something was observed
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
  for (const cpu::Isa& isa : cpu::supported_isas())
    if (isa.name == std::string(isa.fp32->name)) names.emplace_back(isa.name);
  return names;
}

ReducedKernels reduced_kernels(const std::string& name) {
  const cpu::Isa& isa = cpu::select_isa(name);
  return {isa.bf16 ? isa.bf16->name : "", isa.int8 ? isa.int8->name : ""};
}

double multiply_add_rate(const std::string& isa, Precision precision, int threads, double milliseconds) {
  return cpu::multiply_add_rate(cpu::select_isa(isa), precision, threads, milliseconds);
}

std::vector<CompiledOp> compile_ahead(const Plan&, const CompileOptions&) {
  throw Error(ErrorCode::kBackendUnavailable, "The CPU backend needs nothing compiled ahead of time.");
}

}  // namespace residual::core
