// Native work off the event loop: a promise whose work runs on a thread of libuv's pool.
#pragma once

#include <napi.h>

#include <functional>
#include <optional>

#include "binding/errors.h"

namespace residual::binding {

class PromiseWorker final : public Napi::AsyncWorker {
 public:
  using Work = std::function<void()>;                     // on another thread; must not touch JavaScript
  using Resolve = std::function<Napi::Value(Napi::Env)>;  // back on the thread of `env`

  // Node waits for `work` before it tears down the environment; in that case `resolve` is not called.
  static Napi::Promise start(Napi::Env env, Work work, Resolve resolve) {
    auto* worker = new PromiseWorker(env, std::move(work), std::move(resolve));  // deletes itself when done
    const Napi::Promise promise = worker->deferred_.Promise();
    worker->Queue();
    return promise;
  }

 private:
  PromiseWorker(Napi::Env env, Work work, Resolve resolve)
      : Napi::AsyncWorker(env, "residual"),
        deferred_(Napi::Promise::Deferred::New(env)),
        work_(std::move(work)),
        resolve_(std::move(resolve)) {}

  void Execute() override {
    try {
      work_();
    } catch (...) {
      failure_ = Failure::current();
    }
  }

  void OnOK() override {
    const Napi::Env env = Env();
    if (failure_) return deferred_.Reject(failure_->to_js(env).Value());
    try {
      deferred_.Resolve(resolve_(env));
    } catch (const Napi::Error& error) {
      deferred_.Reject(error.Value());
    }
  }

  Napi::Promise::Deferred deferred_;
  Work work_;
  Resolve resolve_;
  std::optional<Failure> failure_;
};

}  // namespace residual::binding
