#include "cuda/plan_builder.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>

#include "cuda/conv_graph.h"

namespace residual::cuda {

std::vector<BuiltPlan> PlanBuilder::build(const std::vector<ConvSpec>& specs, const ChoosePlan& tune) const {
  std::vector<BuiltPlan> result(specs.size());
  std::vector<std::exception_ptr> failures(specs.size());
  std::atomic<size_t> next{0};
  const auto work = [&] {
    for (size_t i = next++; i < specs.size(); i = next++) {
      try {
        result[i] = build_one(specs[i], tune);
      } catch (...) {
        failures[i] = std::current_exception();
      }
    }
  };
  std::vector<std::thread> helpers;
  const size_t wanted = tune ? 1 : std::min(size_t(std::max(threads_, 1)), specs.size());
  helpers.reserve(wanted);  // nothing below may throw while there are threads to join
  try {
    for (size_t i = 1; i < wanted; i++) helpers.emplace_back(work);
  } catch (const std::exception&) {  // no more threads to be had, or no memory for one: those there are do it
  }
  work();
  for (std::thread& helper : helpers) helper.join();
  for (const std::exception_ptr& failure : failures)
    if (failure) std::rethrow_exception(failure);
  return result;
}

BuiltPlan PlanBuilder::build_one(const ConvSpec& spec, const ChoosePlan& tune) const {
  const std::string key = "cudnn " + cudnn_version() + " | " + gpu_name_ + " | " + spec.key();
  BuiltPlan result;
  if (const auto entry = cache_.read(key); entry && (entry->tuned || !tune)) {
    try {
      EnginePlan plan = restore_engine_plan(entry->json, gpu_);
      plan.precision = spec.precision;
      result.plan = std::make_shared<EnginePlan>(std::move(plan));
      result.cached = true;
      return result;
    } catch (const core::Error&) {  // whole, but not to cuDNN's liking: built anew and overwritten
    }
  }
  try {
    const Descriptor graph = build_conv_graph(spec);
    const std::vector<Descriptor> candidates = engine_candidates(graph, gpu_, spec.precision);
    EnginePlan plan = tune ? tune(spec, candidates) : build_first_plan(candidates, gpu_);
    plan.precision = spec.precision;
    result.plan = std::make_shared<EnginePlan>(std::move(plan));
  } catch (const core::Error& error) {
    if (error.code() != core::ErrorCode::kInternal)
      throw;  // out of memory, a lost device: not cuDNN's "cannot"
    result.reason = error.what();
    return result;
  }
  cache_.write(key, {result.plan->json, /*tuned=*/tune != nullptr});
  return result;
}

std::string gpu_name(int compute_capability, int multiprocessors) {
  return "sm " + std::to_string(compute_capability) + " x " + std::to_string(multiprocessors);
}

}  // namespace residual::cuda
