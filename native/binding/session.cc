#include "binding/session.h"

#include <algorithm>
#include <climits>
#include <cmath>
#include <cstring>
#include <mutex>

#include "binding/errors.h"
#include "binding/plan_reader.h"
#include "binding/promise_worker.h"
#include "core/backend.h"
#include "core/stored_weights.h"

namespace residual::binding {
namespace {

template <typename... Parts>
[[noreturn]] void internal(const Parts&... parts) {
  throw core::Error(core::ErrorCode::kInternal, (std::string() + ... + parts));
}

// A copy of what JavaScript handed over: it may change, transfer or free its buffer while the work runs.
template <typename T>
std::shared_ptr<T[]> copy_of(const Napi::TypedArrayOf<T>& array) {
  std::shared_ptr<T[]> copy(new T[array.ElementLength()]);
  if (array.ElementLength() > 0) std::memcpy(copy.get(), array.Data(), array.ByteLength());
  return copy;
}

// Keeps an object from being collected for as long as the result lives.
std::shared_ptr<Napi::ObjectReference> hold(const Napi::Value& value) {
  return std::make_shared<Napi::ObjectReference>(Napi::Persistent(value.As<Napi::Object>()));
}

// A batch of pictures that JavaScript handed over.
struct Batch {
  std::shared_ptr<uint8_t[]> bytes;
  std::shared_ptr<float[]> floats;
  int count = 0;

  core::Input input() const { return {bytes.get(), floats.get(), count}; }
};

struct Job {
  Batch batch;
  std::array<std::vector<float>, core::kOutputCount> outputs;  // empty where not wanted
  size_t memory = 0;                                           // held by the backend after the run
};

Batch read_batch(const Napi::Value& value, const core::Plan& plan) {
  const auto array = value.As<Napi::TypedArray>();
  const size_t elements = array.ElementLength(), per_picture = plan.input().elements();
  const size_t count = elements / per_picture;
  if (count == 0 || count * per_picture != elements || count > INT_MAX)
    internal("The input has ", std::to_string(elements), " elements, not a multiple of ",
             std::to_string(per_picture));
  Batch batch;
  batch.count = static_cast<int>(count);
  if (array.TypedArrayType() == napi_uint8_array)
    batch.bytes = copy_of(array.As<Napi::Uint8Array>());
  else if (array.TypedArrayType() == napi_float32_array)
    batch.floats = copy_of(array.As<Napi::Float32Array>());
  else
    internal("The input is neither a Uint8Array nor a Float32Array");
  return batch;
}

// A name for each of `ops` operations.
std::vector<std::string> read_algorithms(const Napi::Value& value, size_t ops) {
  if (!value.IsArray() || value.As<Napi::Array>().Length() != ops)
    internal("algorithms is not an array of a name for each operation");
  const auto array = value.As<Napi::Array>();
  std::vector<std::string> names;
  for (uint32_t i = 0; i < array.Length(); i++) {
    const Napi::Value name = array.Get(i);
    if (!name.IsString()) internal("algorithms holds something that is not a string");
    names.push_back(name.As<Napi::String>().Utf8Value());
  }
  return names;
}

// As lib/runtime/native.ts describes them; what is absent keeps its default.
core::BackendOptions read_options(const Napi::Value& value, const core::Plan& plan) {
  const Napi::Object from = value.As<Napi::Object>();
  const auto there = [&](const char* name) { return !from.Get(name).IsUndefined(); };
  core::BackendOptions options;
  if (there("threads")) options.threads = from.Get("threads").As<Napi::Number>().Int32Value();
  if (options.threads < 1 || options.threads > 1024) internal("threads out of range");
  if (there("exact")) options.exact = from.Get("exact").ToBoolean();
  if (there("isa")) options.isa = from.Get("isa").As<Napi::String>().Utf8Value();
  if (there("algorithms")) options.algorithms = read_algorithms(from.Get("algorithms"), plan.ops.size());
  if (there("deviceIndex")) options.device_index = from.Get("deviceIndex").As<Napi::Number>().Int32Value();
  if (there("precision")) options.precision = from.Get("precision").As<Napi::String>().Utf8Value();
  if (there("autotune")) options.autotune = from.Get("autotune").ToBoolean();
  if (there("graph")) options.graph = from.Get("graph").ToBoolean();
  if (there("cacheFolder")) options.cache_folder = from.Get("cacheFolder").As<Napi::String>().Utf8Value();
  if (there("batchSizes")) {
    const auto sizes = from.Get("batchSizes").As<Napi::Array>();
    options.batch_sizes.clear();
    for (uint32_t i = 0; i < sizes.Length(); i++) {
      const int size = sizes.Get(i).As<Napi::Number>().Int32Value();
      const int above = options.batch_sizes.empty() ? 0 : options.batch_sizes.back();
      if (size <= above || size > 65536) internal("batchSizes are not ascending numbers from 1 to 65536");
      options.batch_sizes.push_back(size);
    }
    if (options.batch_sizes.empty()) internal("batchSizes is empty");
  }
  return options;
}

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
  bool ready() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return all_loaded();
  }

  void run(const Batch& batch, const core::OutputBuffers& outputs, core::OpMilliseconds* times) {
    if (!ready()) internal("The session was run before all its weights were loaded");
    backend->run(batch.input(), outputs, times);
  }

 private:
  bool all_loaded() const { return std::find(loaded_.begin(), loaded_.end(), false) == loaded_.end(); }

  std::mutex mutex_;          // over `loaded_`
  std::vector<bool> loaded_;  // by op: has the weights it takes
};

void NativeSession::define(Napi::Env env, Napi::Object exports) {
  exports.Set("NativeSession", DefineClass(env, "NativeSession",
                                           {
                                               InstanceMethod<&NativeSession::load_weights>("loadWeights"),
                                               InstanceMethod<&NativeSession::run>("run"),
                                               InstanceMethod<&NativeSession::profile>("profile"),
                                               InstanceMethod<&NativeSession::dispose>("dispose"),
                                               InstanceMethod<&NativeSession::description>("description"),
                                               InstanceMethod<&NativeSession::algorithms>("algorithms"),
                                           }));
}

// new NativeSession(plan, options)
NativeSession::NativeSession(const Napi::CallbackInfo& info) : Napi::ObjectWrap<NativeSession>(info) {
  guarded(info.Env(), [&] {
    core::Plan plan = read_plan(info[0]);
    const core::BackendOptions options = read_options(info[1], plan);
    state_ = std::make_shared<State>(std::move(plan), options);
  });
}

void NativeSession::Finalize(Napi::BasicEnv env) { report_memory(env, 0); }

const std::shared_ptr<NativeSession::State>& NativeSession::open() const {
  if (!state_)
    throw core::Error(core::ErrorCode::kSessionClosed, "The session is closed. Create another one.");
  return state_;
}

void NativeSession::report_memory(Napi::BasicEnv env, size_t bytes) {
  Napi::MemoryManagement::AdjustExternalMemory(env, int64_t(bytes) - int64_t(reported_bytes_));
  reported_bytes_ = bytes;
}

namespace {

// Where `stored` says that so many numbers lie. Throws INTERNAL.
core::WeightPlace weight_place(const Napi::Object& stored, size_t count, size_t bytes_each,
                               const std::string& name) {
  core::WeightPlace place;
  if (!stored.IsTypedArray()) {
    const auto whole = [&](const char* member, double most) {
      const Napi::Value value = stored.Get(member);
      const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
      if (!(number >= 0 && number <= most && number == std::floor(number)))
        internal("The weights of '", name, "' are in no file");
      return number;
    };
    place.file = static_cast<int>(whole("descriptor", INT_MAX));
    place.position = static_cast<uint64_t>(whole("position", 0x1p53));
    return place;
  }
  if (stored.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array)
    internal("The weights of '", name, "' are no Uint8Array");
  const auto bytes = stored.As<Napi::Uint8Array>();
  if (bytes.ByteLength() != count * bytes_each) internal("The weights of '", name, "' have the wrong size");
  if (reinterpret_cast<uintptr_t>(bytes.Data()) % bytes_each != 0)
    internal("The weights of '", name, "' are not aligned");
  place.memory = reinterpret_cast<const std::byte*>(bytes.Data());
  return place;
}

}  // namespace

// loadWeights(op: number, stored: Uint8Array | { descriptor: number, position: number }, layout: 'KCRS' |
// 'RSCK', type: string, scale: Float64Array, bias: Float32Array): Promise<void>
Napi::Value NativeSession::load_weights(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const auto state = open();
    const size_t op = info[0].As<Napi::Number>().Uint32Value();
    const auto stored = info[1].As<Napi::Object>();
    const std::string layout = info[2].As<Napi::String>();
    const auto type = core::stored_type(info[3].As<Napi::String>());
    const auto scale = info[4].As<Napi::Float64Array>();
    const auto bias = info[5].As<Napi::Float32Array>();
    if (op >= state->plan.ops.size()) internal("There is no operation ", std::to_string(op));
    const core::Op& target = state->plan.ops[op];
    const core::WeightShape shape = core::weight_shape(state->plan, target);
    if (shape.count() == 0) internal("Operation '", target.name, "' takes no weights");
    if (layout != "KCRS" && layout != "RSCK")
      internal("The weights of '", target.name, "' have an unknown layout");
    if (!type) internal("The weights of '", target.name, "' have an unknown type");
    if (scale.ElementLength() != shape.outputs || bias.ElementLength() != shape.outputs)
      internal("The factors of '", target.name, "' have the wrong size");
    core::WeightPlace place = weight_place(stored, shape.count(), core::bytes_of(*type), target.name);
    place.outputs_last = layout == "RSCK";
    // The arrays come from lib/runtime, which leaves them alone until this is done: references are enough,
    // copies would double the memory.
    auto held = std::make_shared<std::array<Napi::ObjectReference, 3>>();
    (*held)[0] = Napi::Persistent(stored);
    (*held)[1] = Napi::Persistent(scale.As<Napi::Object>());
    (*held)[2] = Napi::Persistent(bias.As<Napi::Object>());
    auto memory = std::make_shared<size_t>(0);
    return PromiseWorker::start(
        env,
        [state, op, shape, place, memory, type = *type, scales = scale.Data(), biases = bias.Data()] {
          core::StoredWeights weights(place, type, shape, scales);
          state->backend->load_weights(op, weights, biases);
          // V8 is told once, when all is there. Told of every operation it collects garbage all the while: a
          // fifth of the time to load ResNet-50.
          if (state->set_loaded(op)) *memory = state->backend->bytes();
        },
        [this, self = hold(info.This()), held, memory](Napi::Env env) {
          if (state_ && *memory > 0) report_memory(env, *memory);
          return env.Undefined();
        });
  });
}

// run(input: Uint8Array | Float32Array, outputs: string[]): Promise<{ [output]: Float32Array }>
Napi::Value NativeSession::run(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const auto state = open();
    auto job = std::make_shared<Job>();
    job->batch = read_batch(info[0], state->plan);

    const auto names = info[1].As<Napi::Array>();
    for (uint32_t i = 0; i < names.Length(); i++) {
      const std::string name = names.Get(i).As<Napi::String>().Utf8Value();
      int output = 0;
      while (output < core::kOutputCount && name != core::kOutputNames[output]) output++;
      if (output == core::kOutputCount || state->plan.outputs[output] == core::kNone)
        internal("The plan has no output '", name, "'");
      job->outputs[output].resize(state->plan.values[state->plan.outputs[output]].elements() *
                                  job->batch.count);
    }

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
    const auto state = open();
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
  state_.reset();
  report_memory(info.Env(), 0);
  return info.Env().Undefined();
}

// description(): string
Napi::Value NativeSession::description(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] { return Napi::String::New(info.Env(), open()->backend->description()); });
}

// algorithms(): string[][]
Napi::Value NativeSession::algorithms(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&] {
    const std::vector<std::vector<std::string>> all = open()->backend->algorithms();
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
