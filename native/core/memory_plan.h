// Places every value in one arena. Values whose lifetimes do not overlap share memory.
#pragma once

#include <vector>

#include "core/plan.h"

namespace residual::core {

struct MemoryPlan {
  std::vector<size_t> offsets;  // by value, in the unit of the sizes
  size_t size = 0;
};

// From the op that first writes a value to the last one that reads it; an end before the beginning is never.
struct Lifetime {
  int begin = 0;
  int end = -1;
  bool meets(const Lifetime& o) const { return begin <= o.end && o.begin <= end; }
};

// Of each value when ops run once each, in order; outputs live to the end.
std::vector<Lifetime> lifetimes(const Plan& plan);

// `sizes`: of each value, in whatever unit the backend counts. Offsets are multiples of `alignment`. If all
// sizes are of one image, offsets and size may be multiplied by a batch.
MemoryPlan plan_memory(const std::vector<Lifetime>& lives, const std::vector<size_t>& sizes,
                       size_t alignment);

}  // namespace residual::core
