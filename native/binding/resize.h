// The JavaScript function `resize`, in front of native/image.
#pragma once

#include <napi.h>

namespace residual::binding {

// Adds resize(pixels, geometry): Promise<Uint8Array>, as lib/runtime/native.ts describes it.
void register_resize(Napi::Env env, Napi::Object exports);

}  // namespace residual::binding
