// Maps each operation to the kernel or plan that runs it, and to its memory.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/plan.h"
#include "cuda/device.h"
#include "cuda/layout.h"
#include "cuda/weights.h"

namespace residual::cuda {

// What is the same for all batch sizes.
struct Network {
  Network(core::Plan its_plan, Precision precision)
      : plan(std::move(its_plan)), layout(plan, precision), weights(plan.ops.size()) {}
  Network(const Network&) = delete;  // the layout refers to the plan

  const core::Plan plan;
  const Layout layout;
  std::vector<OpWeights> weights;  // by op
};

using OutputMask = unsigned;  // bit i: core::Output i is wanted

// By op: whether an output that is wanted depends on it.
std::vector<bool> needed_ops(const core::Plan& plan, OutputMask mask);

enum class InputKind { kBytes, kFloats };
constexpr int kInputKinds = 2;

// One kernel or one cuDNN plan.
struct Step {
  std::string op;  // for messages
  std::optional<KernelLaunch> kernel;
  std::shared_ptr<const EnginePlan> plan;
  std::vector<Binding> bindings;
};

// For one batch size and one arena.
class StepBuilder {
 public:
  // `arena`: device memory of network.layout.arena_bytes(batch).
  StepBuilder(const Network& network, int batch, std::byte* arena)
      : network_(network), batch_(batch), arena_(arena) {}

  // Of plan.ops[index], which is not the first. `plan`: null where cuDNN does not run it.
  Step op(size_t index, std::shared_ptr<const EnginePlan> plan) const;

  // In the place of normalize: `src` [N,H,W,C] of that kind, device.
  Step import(InputKind kind, const void* src) const;

  // `dst`: [N, elements] float32, device.
  Step output(int output, void* dst) const;

 private:
  void* at(int value) const { return arena_ + network_.layout.offset(value, batch_); }
  Step convolution(const core::Op& op, const OpWeights& weights,
                   std::shared_ptr<const EnginePlan> plan) const;

  const Network& network_;  // outlives this
  int batch_;
  std::byte* arena_;
};

}  // namespace residual::cuda
