// Times each op of a run. One clock reading per op: cheap enough to run always.
#pragma once

#include <chrono>

#include "core/backend.h"

namespace residual::cpu {

class OpClock {
 public:
  void reset(size_t ops) { times_.assign(ops, 0); }

  void start() { last_ = Clock::now(); }

  // Adds the time since start() or the last lap to `op`.
  void lap(size_t op) {
    const Clock::time_point now = Clock::now();
    times_[op] += std::chrono::duration<double, std::milli>(now - last_).count();
    last_ = now;
  }

  const core::OpMilliseconds& times() const { return times_; }

 private:
  using Clock = std::chrono::steady_clock;

  core::OpMilliseconds times_;
  Clock::time_point last_;
};

}  // namespace residual::cpu
