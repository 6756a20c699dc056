#include "binding/session_state.h"

#include <algorithm>

#include "core/error.h"
#include "core/stored_weights.h"

namespace residual::binding {

SessionState::SessionState(core::Plan plan, const core::BackendOptions& options)
    : plan_(std::move(plan)), backend_(core::create_backend(plan_, options)) {
  for (const core::Op& op : plan_.ops) loaded_.push_back(!core::row_of(op.kind).weighted);
}

void SessionState::load_weights(const GivenWeights& given) {
  core::StoredWeights weights(given.place, given.type, given.shape, given.scale.get());
  backend_->load_weights(given.op, weights, given.bias.get());
  const std::lock_guard<std::mutex> lock(mutex_);
  loaded_[given.op] = true;
}

void SessionState::prepare(int images) {
  check_ready();
  backend_->prepare(images);
}

void SessionState::run(const Batch& batch, const core::OutputBuffers& outputs, core::OpMilliseconds* times) {
  check_ready();
  backend_->run(batch.input(), outputs, times);
}

void SessionState::observe(const Batch& batch, const core::OutputBuffers& outputs) {
  check_ready();
  backend_->observe(batch.input(), outputs);
}

void SessionState::capture(const Batch& batch) {
  check_ready();
  const auto results = std::make_shared<std::vector<std::vector<float>>>();
  backend_->capture(batch.input(), *results);
  const std::lock_guard<std::mutex> lock(mutex_);
  captured_ = results;
}

std::shared_ptr<const std::vector<float>> SessionState::captured(size_t op) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!captured_) throw core::Error(core::ErrorCode::kInternal, "The session has captured nothing yet.");
  return {captured_, &(*captured_)[op]};
}

void SessionState::check_ready() {
  if (!is_ready())
    throw core::Error(core::ErrorCode::kInternal, "The session was run before all its weights were loaded.");
}

bool SessionState::is_ready() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return std::find(loaded_.begin(), loaded_.end(), false) == loaded_.end();
}

}  // namespace residual::binding
