// The JavaScript class NativeSession, in front of a backend: load weights, run, profile, observe, dispose.
#pragma once

#include <napi.h>

#include <memory>

#include "binding/session_state.h"

namespace residual::binding {

// Every method reads its arguments by session_arguments.h before anything else happens, and hands the work to
// a thread with what it read.
class NativeSession final : public Napi::ObjectWrap<NativeSession> {
 public:
  static void define(Napi::Env env, Napi::Object exports);

  explicit NativeSession(const Napi::CallbackInfo& info);
  void Finalize(Napi::BasicEnv env) override;

 private:
  struct Instance;  // what there is once an environment

  static Napi::Value open_session(const Napi::CallbackInfo& info);
  Napi::Value prepare(const Napi::CallbackInfo& info);
  Napi::Value load_weights(const Napi::CallbackInfo& info);
  Napi::Value run(const Napi::CallbackInfo& info);
  Napi::Value profile(const Napi::CallbackInfo& info);
  Napi::Value observe(const Napi::CallbackInfo& info);
  Napi::Value observations(const Napi::CallbackInfo& info);
  Napi::Value capture(const Napi::CallbackInfo& info);
  Napi::Value captured(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);
  Napi::Value description(const Napi::CallbackInfo& info);
  Napi::Value algorithms(const Napi::CallbackInfo& info);

  // Throws INTERNAL.
  static void check_this(const Napi::CallbackInfo& info);
  // Throws INTERNAL for another `this`, SESSION_CLOSED.
  std::shared_ptr<SessionState> open(const Napi::CallbackInfo& info) const;
  // A promise of what `resolve(env)` returns once `work()` is done on another thread.
  template <typename Work, typename Resolve>
  Napi::Value start(const Napi::CallbackInfo& info, const std::shared_ptr<SessionState>& state, Work work,
                    Resolve resolve);
  void report_memory(Napi::BasicEnv env, size_t bytes);

  std::shared_ptr<SessionState> state_;  // null once disposed of
  size_t reported_bytes_ = 0;            // as last reported to V8
};

}  // namespace residual::binding
