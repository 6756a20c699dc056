// The JavaScript class NativeSession, in front of a backend: load weights, run, profile, dispose.
#pragma once

#include <napi.h>

#include <memory>

namespace residual::binding {

class NativeSession final : public Napi::ObjectWrap<NativeSession> {
 public:
  static void define(Napi::Env env, Napi::Object exports);

  explicit NativeSession(const Napi::CallbackInfo& info);
  void Finalize(Napi::BasicEnv env) override;

 private:
  struct State;     // shared with the work in flight, so that it outlives this object
  struct Instance;  // what there is once an environment

  static Napi::Value open_session(const Napi::CallbackInfo& info);
  Napi::Value prepare(const Napi::CallbackInfo& info);
  Napi::Value load_weights(const Napi::CallbackInfo& info);
  Napi::Value run(const Napi::CallbackInfo& info);
  Napi::Value profile(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);
  Napi::Value description(const Napi::CallbackInfo& info);
  Napi::Value algorithms(const Napi::CallbackInfo& info);

  // Throws INTERNAL.
  static void check_this(const Napi::CallbackInfo& info);
  // Throws INTERNAL for another `this`, SESSION_CLOSED.
  std::shared_ptr<State> open(const Napi::CallbackInfo& info) const;
  void report_memory(Napi::BasicEnv env, size_t bytes);

  std::shared_ptr<State> state_;
  size_t reported_bytes_ = 0;  // as last reported to V8
};

}  // namespace residual::binding
