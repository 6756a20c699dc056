// What a session computes with: the plan, its backend, and which weights are there. Work in flight shares it.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "binding/session_arguments.h"
#include "core/backend.h"

namespace residual::binding {

// Its functions may be called from several threads at once.
class SessionState {
 public:
  SessionState(core::Plan plan, const core::BackendOptions& options);

  const core::Plan& plan() const { return plan_; }
  const core::Backend& backend() const { return *backend_; }

  void load_weights(const GivenWeights& given);

  // All throw INTERNAL before all weights are loaded.
  void prepare(int images);
  void run(const Batch& batch, const core::OutputBuffers& outputs, core::OpMilliseconds* times);
  void observe(const Batch& batch, const core::OutputBuffers& outputs);
  void capture(const Batch& batch);

  // What an op computed in the last capture; its memory is shared. Throws INTERNAL before the first one.
  std::shared_ptr<const std::vector<float>> captured(size_t op);

  // Whether every operation has the weights it takes.
  bool is_ready();

 private:
  const core::Plan plan_;
  const std::unique_ptr<core::Backend> backend_;
  void check_ready();

  std::mutex mutex_;                                                 // over what follows
  std::vector<bool> loaded_;                                         // by op: has the weights it takes
  std::shared_ptr<const std::vector<std::vector<float>>> captured_;  // by op
};

}  // namespace residual::binding
