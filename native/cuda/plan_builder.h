// Builds executable plans for convolutions: from the cache if they are there, otherwise compiled, many at a
// time.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cuda/engines.h"
#include "cuda/plan_cache.h"

namespace residual::cuda {

struct BuiltPlan {
  std::shared_ptr<const EnginePlan> plan;  // null where cuDNN cannot run the convolution
  bool cached = false;
  std::string reason;  // why the plan is null
};

// Picks one of an operation graph's candidates and builds it.
using ChoosePlan = std::function<EnginePlan(const ConvSpec& spec, const std::vector<Descriptor>& candidates)>;

class PlanBuilder {
 public:
  // `gpu`: cuDNN's description; `gpu_name`: what of it decides which plans fit, for the cache.
  PlanBuilder(Descriptor gpu, std::string gpu_name, PlanCache cache, int threads)
      : gpu_(std::move(gpu)), gpu_name_(std::move(gpu_name)), cache_(std::move(cache)), threads_(threads) {}

  // A plan for each of `specs`, which are distinct. Candidates are tried in cuDNN's order on several threads,
  // or, if `tune` is given, chosen by it, one after another; plans of the cache that were not tuned do not
  // count then.
  std::vector<BuiltPlan> build(const std::vector<ConvSpec>& specs, const ChoosePlan& tune = nullptr) const;

  const Descriptor& gpu() const { return gpu_; }

 private:
  BuiltPlan build_one(const ConvSpec& spec, const ChoosePlan& tune) const;

  Descriptor gpu_;
  std::string gpu_name_;
  PlanCache cache_;
  int threads_;
};

// The name of a kind of GPU in the cache: compute capability (times ten) and multiprocessors decide which
// code runs on it and which is best.
std::string gpu_name(int compute_capability, int multiprocessors);

}  // namespace residual::cuda
