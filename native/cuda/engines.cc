#include "cuda/engines.h"

#include <algorithm>

namespace residual::cuda {
namespace {

void append_candidates(std::vector<Descriptor>& to, const Descriptor& graph, const Descriptor& device,
                       cudnnBackendHeurMode_t mode) {
  Descriptor heuristic(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristic.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph)
      .set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode)
      .set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, device)
      .finalize("ask for engines");
  const int64_t count = heuristic.count(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR);
  std::vector<Descriptor> configs;
  std::vector<cudnnBackendDescriptor_t> handles;
  for (int64_t i = 0; i < count; i++) {
    configs.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    handles.push_back(configs.back().get());
  }
  int64_t filled = 0;
  check(cudnn().BackendGetAttribute(heuristic.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                    CUDNN_TYPE_BACKEND_DESCRIPTOR, count, &filled, handles.data()),
        "list the engines");
  for (int64_t i = 0; i < std::min(count, filled); i++) to.push_back(std::move(configs[i]));
}

bool rounds_as_asked(const Descriptor& candidate, Precision precision) {
  Descriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  candidate.read(CUDNN_ATTR_ENGINECFG_ENGINE, engine);
  cudnnBackendNumericalNote_t notes[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
  int64_t count = 0;
  check(cudnn().BackendGetAttribute(engine.get(), CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                                    CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &count, notes),
        "read how an engine rounds");
  return std::none_of(notes, notes + count, [&](cudnnBackendNumericalNote_t note) {
    const bool fewer_bits =
        note == CUDNN_NUMERICAL_NOTE_TENSOR_CORE || note == CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS;
    return note == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC ||
           note == CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION ||
           (fewer_bits && precision == Precision::kFp32);
  });
}

EnginePlan finalized(Descriptor plan) {
  plan.finalize("build a plan");
  EnginePlan result;
  result.workspace_bytes = plan.integer(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE);
  result.json = plan.text(CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION);
  result.plan = std::move(plan);
  return result;
}

}  // namespace

std::vector<Descriptor> engine_candidates(const Descriptor& graph, const Descriptor& device,
                                          Precision precision) {
  std::vector<Descriptor> all;
  for (const cudnnBackendHeurMode_t mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
    try {
      append_candidates(all, graph, device, mode);
    } catch (const core::Error&) {
      if (mode == CUDNN_HEUR_MODE_FALLBACK && all.empty()) throw;  // neither mode knows an engine
    }
  }
  std::vector<Descriptor> fit;
  for (Descriptor& candidate : all)
    if (rounds_as_asked(candidate, precision)) fit.push_back(std::move(candidate));
  return fit;
}

EnginePlan build_engine_plan(const Descriptor& candidate, const Descriptor& device) {
  Descriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
  plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, candidate)
      .set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, device);
  return finalized(std::move(plan));
}

EnginePlan build_first_plan(const std::vector<Descriptor>& candidates, const Descriptor& device) {
  std::string reason = "cuDNN proposes no engine";
  for (const Descriptor& candidate : candidates) {
    try {
      EnginePlan plan = build_engine_plan(candidate, device);
      if (plan.workspace_bytes <= kMaxWorkspaceBytes) return plan;
      reason = "its workspace of " + std::to_string(plan.workspace_bytes) + " bytes is too large";
    } catch (const core::Error& error) {
      reason = error.what();
    }
  }
  throw core::Error(core::ErrorCode::kInternal, "No engine can run the graph: " + reason);
}

EnginePlan restore_engine_plan(const std::string& json, const Descriptor& device) {
  Descriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
  plan.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, device)
      .set(CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, json);
  return finalized(std::move(plan));
}

}  // namespace residual::cuda
