// What does the addon export? NativeSession, resize, and the constant `info`.
#include <napi.h>

#include "binding/resize.h"
#include "binding/session.h"
#include "core/backend.h"

namespace {

Napi::Object init(Napi::Env env, Napi::Object exports) {
  residual::binding::NativeSession::define(env, exports);
  residual::binding::register_resize(env, exports);

  const std::vector<std::string> capabilities = residual::core::backend_capabilities();
  const Napi::Array names = Napi::Array::New(env, capabilities.size());
  for (uint32_t i = 0; i < capabilities.size(); i++) names.Set(i, capabilities[i]);
  const Napi::Object info = Napi::Object::New(env);
  info.Set("backend", residual::core::backend_name());
  info.Set("capabilities", names);
  info.Set("compiler", __VERSION__);
  exports.Set("info", info);
  return exports;
}

}  // namespace

NODE_API_MODULE(residual, init)
