// Greedy placement, largest value first, at the lowest offset free during its lifetime.
#include "core/memory_plan.h"

#include <algorithm>

namespace residual::core {

std::vector<Lifetime> lifetimes(const Plan& plan) {
  std::vector<Lifetime> result(plan.values.size());
  for (int i = 0; i < static_cast<int>(plan.ops.size()); i++) {
    const Op& op = plan.ops[i];
    result[op.dst] = {i, i};
    for (const int value : Reads(op)) result[value].end = i;
  }
  for (const int output : plan.outputs)
    if (output != kNone) result[output].end = static_cast<int>(plan.ops.size());
  return result;
}

MemoryPlan plan_memory(const std::vector<Lifetime>& lives, const std::vector<size_t>& sizes,
                       size_t alignment) {
  const auto padded = [&](int value) { return (sizes[value] + alignment - 1) / alignment * alignment; };
  std::vector<int> order;
  for (int value = 0; value < static_cast<int>(lives.size()); value++)
    if (lives[value].end >= 0) order.push_back(value);  // values no op writes take no room
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return padded(a) > padded(b); });

  MemoryPlan result;
  result.offsets.assign(lives.size(), 0);
  std::vector<int> placed;  // by offset
  for (const int value : order) {
    size_t offset = 0;
    for (const int other : placed) {
      if (!lives[value].meets(lives[other])) continue;
      if (result.offsets[other] >= offset + padded(value)) break;
      offset = std::max(offset, result.offsets[other] + padded(other));
    }
    result.offsets[value] = offset;
    result.size = std::max(result.size, offset + padded(value));
    const auto after = std::upper_bound(placed.begin(), placed.end(), offset,
                                        [&](size_t at, int v) { return at < result.offsets[v]; });
    placed.insert(after, value);
  }
  return result;
}

}  // namespace residual::core
