// Finds the cuDNN engines that can run a graph, and builds plans from them. Needs no device, only its
// description; executing a plan takes a handle, and any handle of such a device will do
// (https://docs.nvidia.com/cudnn/utilities/deviceless-ahead-of-time-compilation). Threads may share the
// description.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cuda/conv_spec.h"
#include "cuda/descriptor.h"

namespace residual::cuda {

// A plan cuDNN can execute. Shared between executables, never changed.
struct EnginePlan {
  Descriptor plan;
  int64_t workspace_bytes = 0;
  Precision precision = Precision::kFp16;  // that it was built for
  std::string json;  // as cuDNN serialises it: the graph, the engine, the machine code of its kernels
};

// Candidates that need more are skipped.
constexpr int64_t kMaxWorkspaceBytes = int64_t(256) << 20;

// The engine configurations cuDNN proposes for `graph` on `device`, most promising first: those of heuristic
// mode A, then the fallbacks. Excluded are engines whose results vary from run to run, engines that round
// sums to less than float32, and in kFp32 engines that multiply with fewer bits.
std::vector<Descriptor> engine_candidates(const Descriptor& graph, const Descriptor& device,
                                          Precision precision);

// Compiles; takes about a second for engines that generate code. Throws INTERNAL if the engine cannot run the
// graph after all.
EnginePlan build_engine_plan(const Descriptor& candidate, const Descriptor& device);

// The first candidate that builds with at most kMaxWorkspaceBytes; INTERNAL with the last reason if none
// does.
EnginePlan build_first_plan(const std::vector<Descriptor>& candidates, const Descriptor& device);

// A plan from its own `json`, without compiling.
EnginePlan restore_engine_plan(const std::string& json, const Descriptor& device);

}  // namespace residual::cuda
