// What looks at every operation's result while a plan runs.
#pragma once

#include "core/plan.h"
#include "cpu/ranges.h"

namespace residual::cpu {

class Watcher {
 public:
  virtual ~Watcher() = default;

  // Operation `op` has written these images of the batch: `data`, [images,H,W,C], kept as `value` says.
  virtual void see(int op, const core::Value& value, const void* data, Range images) = 0;
};

}  // namespace residual::cpu
