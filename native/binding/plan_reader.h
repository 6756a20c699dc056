// Reads a plan from the plain object that lib/model/plan.ts describes.
#pragma once

#include <napi.h>

#include "core/plan.h"

namespace residual::binding {

// Throws PLAN_INVALID for missing members, members of the wrong type, and anything core::validate rejects.
core::Plan read_plan(const Napi::Value& value);

}  // namespace residual::binding
