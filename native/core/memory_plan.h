// Where in one arena does each value live? Values whose lifetimes do not meet share memory.
#pragma once

#include <vector>

#include "core/plan.h"

namespace residual::core {

struct MemoryPlan {
  std::vector<size_t> offsets;  // by value, in elements of one picture
  size_t elements = 0;          // of one picture; a batch of N takes N times offsets and size
};

// A value lives from the op that writes it to the last one that reads it; outputs live to the end. Offsets
// are multiples of `alignment` elements. Lifetimes do not depend on the batch, so offsets scale with it and
// never meet.
MemoryPlan plan_memory(const Plan& plan, size_t alignment);

}  // namespace residual::core
