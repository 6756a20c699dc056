// The JavaScript function `compileAhead`.
#pragma once

#include <napi.h>

namespace residual::binding {

// Adds compileAhead(plan, options): Promise<CompiledOp[]>, as lib/runtime/native.ts describes it.
void register_compile(Napi::Env env, Napi::Object exports);

}  // namespace residual::binding
