// Where in one arena does each value live? Values whose lifetimes do not meet share memory.
#pragma once

#include <vector>

#include "core/plan.h"

namespace residual::core {

struct MemoryPlan {
  std::vector<size_t> offsets;  // by value, in the unit of the sizes, for one picture
  size_t size = 0;              // of one picture; a batch of N takes N times offsets and size
};

// `sizes`: of each value for one picture, in whatever unit the backend counts. A value lives from the op that
// writes it to the last one that reads it; outputs live to the end. Offsets are multiples of `alignment`.
// Lifetimes do not depend on the batch, so offsets scale with it and never meet.
MemoryPlan plan_memory(const Plan& plan, const std::vector<size_t>& sizes, size_t alignment);

}  // namespace residual::core
