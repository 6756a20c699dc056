// Copies of every operation's results.
#pragma once

#include <vector>

#include "cpu/reduced_ops.h"
#include "cpu/watcher.h"

namespace residual::cpu {

// Copies all it sees of one batch to `results`: by operation [N,H,W,C], float32 whatever it is kept as.
class Capture final : public Watcher {
 public:
  Capture(const core::Plan& plan, int batch, std::vector<std::vector<float>>& results) : results_(results) {
    results_.clear();
    for (const core::Op& op : plan.ops) results_.emplace_back(plan.dst(op).elements() * batch);
  }

  void see(int op, const core::Value& value, const void* data, Range images) override {
    const size_t elements = value.elements();
    to_floats(results_[op].data() + images.begin * elements, data, value, images.size() * elements);
  }

 private:
  std::vector<std::vector<float>>& results_;
};

}  // namespace residual::cpu
