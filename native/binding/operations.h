// The table of operations and the precisions as JavaScript sees them: what `info` shows of core/ops.h.
#pragma once

#include <napi.h>

namespace residual::binding {

Napi::Array operations(Napi::Env env);
Napi::Array precisions(Napi::Env env);

}  // namespace residual::binding
