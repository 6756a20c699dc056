#include "binding/session.h"

#include <climits>

#include "binding/errors.h"
#include "binding/plan_reader.h"
#include "binding/promise_worker.h"
#include "binding/session_arguments.h"
#include "binding/session_results.h"
#include "binding/values.h"

namespace residual::binding {
namespace {

constexpr napi_type_tag kTypeTag = {0x5b1f0e6c9d3a4721, 0x8c42e79b16f05da3};

// Keeps an object from being collected for as long as the result lives.
std::shared_ptr<Napi::ObjectReference> hold(const Napi::Value& value) {
  return std::make_shared<Napi::ObjectReference>(Napi::Persistent(value.As<Napi::Object>()));
}

}  // namespace

struct NativeSession::Instance {
  Napi::FunctionReference constructor;
  std::shared_ptr<SessionState> opened;  // for the constructor to take, and null but for that moment
};

void NativeSession::define(Napi::Env env, Napi::Object exports) {
  const Napi::Function constructor =
      DefineClass(env, "NativeSession",
                  {
                      StaticMethod<&NativeSession::open_session>("open"),
                      InstanceMethod<&NativeSession::load_weights>("loadWeights"),
                      InstanceMethod<&NativeSession::prepare>("prepare"),
                      InstanceMethod<&NativeSession::run>("run"),
                      InstanceMethod<&NativeSession::profile>("profile"),
                      InstanceMethod<&NativeSession::observe>("observe"),
                      InstanceMethod<&NativeSession::observations>("observations"),
                      InstanceMethod<&NativeSession::capture>("capture"),
                      InstanceMethod<&NativeSession::captured>("captured"),
                      InstanceMethod<&NativeSession::dispose>("dispose"),
                      InstanceMethod<&NativeSession::description>("description"),
                      InstanceMethod<&NativeSession::algorithms>("algorithms"),
                  });
  auto* instance = new Instance;  // the environment deletes it
  instance->constructor = Napi::Persistent(constructor);
  env.SetInstanceData(instance);
  exports.Set("NativeSession", constructor);
}

// NativeSession.open(plan, options): Promise<NativeSession>; what a device takes to open is off the event
// loop
Napi::Value NativeSession::open_session(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const auto plan = std::make_shared<core::Plan>(read_plan(info[0]));
    const core::BackendOptions options = read_options(info[1], *plan);
    const auto state = std::make_shared<std::shared_ptr<SessionState>>();
    return PromiseWorker::start(
        env, [plan, options, state] { *state = std::make_shared<SessionState>(std::move(*plan), options); },
        [state](Napi::Env env) {
          auto* instance = env.GetInstanceData<Instance>();
          instance->opened = std::move(*state);
          return instance->constructor.New({});
        });
  });
}

// new NativeSession(plan, options)
NativeSession::NativeSession(const Napi::CallbackInfo& info) : Napi::ObjectWrap<NativeSession>(info) {
  guarded(info.Env(), [&] {
    info.This().As<Napi::Object>().TypeTag(&kTypeTag);
    state_ = std::move(info.Env().GetInstanceData<Instance>()->opened);
    if (state_) return;
    core::Plan plan = read_plan(info[0]);
    const core::BackendOptions options = read_options(info[1], plan);
    state_ = std::make_shared<SessionState>(std::move(plan), options);
  });
}

void NativeSession::Finalize(Napi::BasicEnv env) { report_memory(env, 0); }

// Methods can be called on anything that an addon has wrapped. Until the tag is seen, `this` may be no
// session.
void NativeSession::check_this(const Napi::CallbackInfo& info) {
  if (!info.This().As<Napi::Object>().CheckTypeTag(&kTypeTag))
    throw core::Error(core::ErrorCode::kInternal,
                      "A session method was called on something that is not a session.");
}

std::shared_ptr<SessionState> NativeSession::open(const Napi::CallbackInfo& info) const {
  check_this(info);
  if (!state_)
    throw core::Error(core::ErrorCode::kSessionClosed, "The session is closed. Create another one.");
  return state_;
}

void NativeSession::report_memory(Napi::BasicEnv env, size_t bytes) {
  Napi::MemoryManagement::AdjustExternalMemory(env, int64_t(bytes) - int64_t(reported_bytes_));
  reported_bytes_ = bytes;
}

template <typename Work, typename Resolve>
Napi::Value NativeSession::start(const Napi::CallbackInfo& info, const std::shared_ptr<SessionState>& state,
                                 Work work, Resolve resolve) {
  auto memory = std::make_shared<size_t>(0);
  return PromiseWorker::start(
      info.Env(),
      [state, work, memory] {
        work();
        // V8 is told for the first time when all weights are there. Told of every operation it collects
        // garbage all the while: a fifth of the time to load ResNet-50.
        if (state->is_ready()) *memory = state->backend().bytes();
      },
      [this, self = hold(info.This()), resolve, memory](Napi::Env env) {
        if (state_ && *memory > 0) report_memory(env, *memory);
        return resolve(env);
      });
}

// loadWeights(op: number, stored: Uint8Array | { descriptor: number, position: number }, layout: 'KCRS' |
// 'RSCK', type: string, scale: Float64Array, bias: Float32Array): Promise<void>
Napi::Value NativeSession::load_weights(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const auto state = open(info);
    const GivenWeights given = read_weights(info, state->plan());
    return start(
        info, state, [state, given] { state->load_weights(given); },
        [](Napi::Env env) { return env.Undefined(); });
  });
}

// prepare(images: number): Promise<void>
Napi::Value NativeSession::prepare(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const auto state = open(info);
    const int images = static_cast<int>(integer(info[0], {"The number of images"}, 1, INT_MAX));
    return start(
        info, state, [state, images] { state->prepare(images); },
        [](Napi::Env env) { return env.Undefined(); });
  });
}

// run(input: Uint8Array | Float32Array, outputs: string[]): Promise<{ [output]: Float32Array }>
Napi::Value NativeSession::run(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const auto state = open(info);
    const std::vector<int> wanted = read_outputs(info[1], state->plan());
    const Batch batch = read_batch(info[0], state->plan());  // no getter runs after this
    const auto outputs = std::make_shared<OutputValues>(state->plan(), wanted, batch.count);
    return start(
        info, state, [state, batch, outputs] { state->run(batch, outputs->buffers(), /*times=*/nullptr); },
        [outputs](Napi::Env env) { return outputs->to_js(env); });
  });
}

// profile(input: Uint8Array | Float32Array): Promise<Float64Array>; milliseconds by op
Napi::Value NativeSession::profile(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const auto state = open(info);
    const Batch batch = read_batch(info[0], state->plan());
    const auto times = std::make_shared<core::OpMilliseconds>();
    return start(
        info, state, [state, batch, times] { state->run(batch, core::OutputBuffers{}, times.get()); },
        [times](Napi::Env env) { return to_js(env, *times); });
  });
}

// observe(input: Uint8Array, outputs: string[]): Promise<{ [output]: Float32Array }>
Napi::Value NativeSession::observe(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const auto state = open(info);
    const std::vector<int> wanted = read_outputs(info[1], state->plan());
    const Batch batch = read_bytes(info[0], state->plan());
    const auto outputs = std::make_shared<OutputValues>(state->plan(), wanted, batch.count);
    return start(
        info, state, [state, batch, outputs] { state->observe(batch, outputs->buffers()); },
        [outputs](Napi::Env env) { return outputs->to_js(env); });
  });
}

// observations(): Observation[]; waits for what is in flight
Napi::Value NativeSession::observations(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] { return to_js(info.Env(), open(info)->backend().observations()); });
}

// capture(input: Uint8Array): Promise<void>
Napi::Value NativeSession::capture(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const auto state = open(info);
    const Batch batch = read_bytes(info[0], state->plan());
    return start(
        info, state, [state, batch] { state->capture(batch); },
        [](Napi::Env env) { return env.Undefined(); });
  });
}

// captured(op: number): Float32Array
Napi::Value NativeSession::captured(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const auto state = open(info);
    const int64_t last = int64_t(state->plan().ops.size()) - 1;
    const auto op = static_cast<size_t>(integer(info[0], {"The index of an operation"}, 0, last));
    return to_js(info.Env(), *state->captured(op));
  });
}

// dispose(): void; what is in flight finishes and keeps the memory until then
Napi::Value NativeSession::dispose(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    check_this(info);
    state_.reset();
    report_memory(info.Env(), 0);
    return info.Env().Undefined();
  });
}

// description(): string
Napi::Value NativeSession::description(const Napi::CallbackInfo& info) {
  return guarded(info.Env(),
                 [&] { return Napi::String::New(info.Env(), open(info)->backend().description()); });
}

// algorithms(): string[][]
Napi::Value NativeSession::algorithms(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] { return to_js(info.Env(), open(info)->backend().algorithms()); });
}

}  // namespace residual::binding
