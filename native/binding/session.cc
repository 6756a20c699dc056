#include "binding/session.h"

#include <algorithm>
#include <climits>
#include <cmath>
#include <cstring>
#include <mutex>
#include <vector>

#include "binding/errors.h"
#include "binding/plan_reader.h"
#include "binding/promise_worker.h"
#include "binding/session_arguments.h"
#include "binding/values.h"
#include "core/backend.h"
#include "core/stored_weights.h"

namespace residual::binding {
namespace {

template <typename... Parts>
[[noreturn]] void internal(const Parts&... parts) {
  throw core::Error(core::ErrorCode::kInternal, (std::string() + ... + parts));
}

// Keeps an object from being collected for as long as the result lives.
std::shared_ptr<Napi::ObjectReference> hold(const Napi::Value& value) {
  return std::make_shared<Napi::ObjectReference>(Napi::Persistent(value.As<Napi::Object>()));
}

struct Job {
  Batch batch;
  std::array<std::vector<float>, core::kOutputCount> outputs;  // empty where not wanted
  size_t memory = 0;                                           // held by the backend after the run
};

}  // namespace

struct NativeSession::State {
  State(core::Plan from, const core::BackendOptions& options)
      : plan(std::move(from)), backend(core::create_backend(plan, options)) {
    for (const core::Op& op : plan.ops) loaded_.push_back(core::weight_shape(plan, op).count() == 0);
  }

  const core::Plan plan;
  const std::unique_ptr<core::Backend> backend;

  // Returns whether all operations have their weights now.
  bool set_loaded(size_t op) {
    const std::lock_guard<std::mutex> lock(mutex_);
    loaded_[op] = true;
    return all_loaded();
  }

  void prepare(int images) {
    check_ready();
    backend->prepare(images);
  }

  void run(const Batch& batch, const core::OutputBuffers& outputs, core::OpMilliseconds* times) {
    check_ready();
    backend->run(batch.input(), outputs, times);
  }

 private:
  void check_ready() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!all_loaded()) internal("The session was run before all its weights were loaded.");
  }
  bool all_loaded() const { return std::find(loaded_.begin(), loaded_.end(), false) == loaded_.end(); }

  std::mutex mutex_;          // over `loaded_`
  std::vector<bool> loaded_;  // by op: has the weights it takes
};

struct NativeSession::Instance {
  Napi::FunctionReference constructor;
  std::shared_ptr<State> opened;  // for the constructor to take, and null but for that moment
};

namespace {

constexpr napi_type_tag kTypeTag = {0x5b1f0e6c9d3a4721, 0x8c42e79b16f05da3};

}  // namespace

void NativeSession::define(Napi::Env env, Napi::Object exports) {
  const Napi::Function constructor =
      DefineClass(env, "NativeSession",
                  {
                      StaticMethod<&NativeSession::open_session>("open"),
                      InstanceMethod<&NativeSession::load_weights>("loadWeights"),
                      InstanceMethod<&NativeSession::prepare>("prepare"),
                      InstanceMethod<&NativeSession::run>("run"),
                      InstanceMethod<&NativeSession::profile>("profile"),
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
    const auto state = std::make_shared<std::shared_ptr<State>>();
    return PromiseWorker::start(
        env, [plan, options, state] { *state = std::make_shared<State>(std::move(*plan), options); },
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
    state_ = std::make_shared<State>(std::move(plan), options);
  });
}

void NativeSession::Finalize(Napi::BasicEnv env) { report_memory(env, 0); }

// Methods can be called on anything that an addon has wrapped. Until the tag is seen, `this` may be no
// session.
void NativeSession::check_this(const Napi::CallbackInfo& info) {
  if (!info.This().As<Napi::Object>().CheckTypeTag(&kTypeTag))
    internal("A session method was called on something that is not a session.");
}

std::shared_ptr<NativeSession::State> NativeSession::open(const Napi::CallbackInfo& info) const {
  check_this(info);
  if (!state_)
    throw core::Error(core::ErrorCode::kSessionClosed, "The session is closed. Create another one.");
  return state_;
}

void NativeSession::report_memory(Napi::BasicEnv env, size_t bytes) {
  Napi::MemoryManagement::AdjustExternalMemory(env, int64_t(bytes) - int64_t(reported_bytes_));
  reported_bytes_ = bytes;
}

// loadWeights(op: number, stored: Uint8Array | { descriptor: number, position: number }, layout: 'KCRS' |
// 'RSCK', type: string, scale: Float64Array, bias: Float32Array): Promise<void>
Napi::Value NativeSession::load_weights(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const auto state = open(info);
    const size_t op = integer(info[0], {"The operation index"}, 0, int64_t(state->plan.ops.size()) - 1);
    const core::Op& target = state->plan.ops[op];
    const core::WeightShape shape = core::weight_shape(state->plan, target);
    if (shape.count() == 0) internal("Operation '", target.name, "' takes no weights.");
    const GivenWeights given = read_weights(info, target.name, shape);
    auto memory = std::make_shared<size_t>(0);
    return PromiseWorker::start(
        env,
        [state, op, shape, given, memory] {
          core::StoredWeights weights(given.place, given.type, shape, given.scale.get());
          state->backend->load_weights(op, weights, given.bias.get());
          // V8 is told once, when all is there. Told of every operation it collects garbage all the while: a
          // fifth of the time to load ResNet-50.
          if (state->set_loaded(op)) *memory = state->backend->bytes();
        },
        [this, self = hold(info.This()), memory](Napi::Env env) {
          if (state_ && *memory > 0) report_memory(env, *memory);
          return env.Undefined();
        });
  });
}

// prepare(images: number): Promise<void>
Napi::Value NativeSession::prepare(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const auto state = open(info);
    const int images = static_cast<int>(integer(info[0], {"The number of images"}, 1, INT_MAX));
    return PromiseWorker::start(
        env, [state, images] { state->prepare(images); },
        [self = hold(info.This())](Napi::Env env) { return env.Undefined(); });
  });
}

// run(input: Uint8Array | Float32Array, outputs: string[]): Promise<{ [output]: Float32Array }>
Napi::Value NativeSession::run(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const auto state = open(info);
    auto job = std::make_shared<Job>();
    std::vector<int> outputs;
    for (const std::string& name : strings(info[1], {"The list of outputs"}, /*most=*/100)) {
      int output = 0;
      while (output < core::kOutputCount && name != core::kOutputNames[output]) output++;
      if (output == core::kOutputCount || state->plan.outputs[output] == core::kNone)
        internal("The plan has no output '", name, "'.");
      outputs.push_back(output);
    }
    job->batch = read_batch(info[0], state->plan);
    for (const int output : outputs)
      job->outputs[output].resize(state->plan.values[state->plan.outputs[output]].elements() *
                                  job->batch.count);

    return PromiseWorker::start(
        env,
        [state, job] {
          core::OutputBuffers buffers{};
          for (int i = 0; i < core::kOutputCount; i++)
            if (!job->outputs[i].empty()) buffers[i] = job->outputs[i].data();
          state->run(job->batch, buffers, /*times=*/nullptr);
          job->memory = state->backend->bytes();
        },
        [this, self = hold(info.This()), job](Napi::Env env) {
          if (state_) report_memory(env, job->memory);
          const Napi::Object result = Napi::Object::New(env);
          for (int i = 0; i < core::kOutputCount; i++) {
            const std::vector<float>& values = job->outputs[i];
            if (values.empty()) continue;
            auto array = Napi::Float32Array::New(env, values.size());
            std::memcpy(array.Data(), values.data(), values.size() * sizeof(float));
            result.Set(core::kOutputNames[i], array);
          }
          return result;
        });
  });
}

// profile(input: Uint8Array | Float32Array): Promise<Float64Array>; milliseconds by op
Napi::Value NativeSession::profile(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const auto state = open(info);
    const auto batch = std::make_shared<Batch>(read_batch(info[0], state->plan));
    const auto times = std::make_shared<core::OpMilliseconds>();
    const auto memory = std::make_shared<size_t>(0);
    return PromiseWorker::start(
        env,
        [state, batch, times, memory] {
          state->run(*batch, core::OutputBuffers{}, times.get());
          *memory = state->backend->bytes();
        },
        [this, self = hold(info.This()), times, memory](Napi::Env env) {
          if (state_) report_memory(env, *memory);
          auto array = Napi::Float64Array::New(env, times->size());
          std::copy(times->begin(), times->end(), array.Data());
          return array;
        });
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
                 [&] { return Napi::String::New(info.Env(), open(info)->backend->description()); });
}

// algorithms(): string[][]
Napi::Value NativeSession::algorithms(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&] {
    const std::vector<std::vector<std::string>> all = open(info)->backend->algorithms();
    const Napi::Array result = Napi::Array::New(env, all.size());
    for (uint32_t op = 0; op < all.size(); op++) {
      const Napi::Array names = Napi::Array::New(env, all[op].size());
      for (uint32_t i = 0; i < all[op].size(); i++) names.Set(i, all[op][i]);
      result.Set(op, names);
    }
    return result;
  });
}

}  // namespace residual::binding
