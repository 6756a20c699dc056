// The addon's exports: NativeSession, resize, the machine's capabilities, and what is done ahead of time.
#include <napi.h>

#include "binding/compile.h"
#include "binding/errors.h"
#include "binding/operations.h"
#include "binding/promise_worker.h"
#include "binding/resize.h"
#include "binding/session.h"
#include "binding/values.h"
#include "core/backend.h"

namespace residual::binding {
namespace {

Napi::Array to_array(Napi::Env env, const std::vector<std::string>& names) {
  const Napi::Array result = Napi::Array::New(env, names.size());
  for (uint32_t i = 0; i < names.size(); i++) result.Set(i, names[i]);
  return result;
}

// capabilities(): string[]
Napi::Value capabilities(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&] { return to_array(env, core::backend_capabilities()); });
}

// reducedKernels(isa: string): { bf16: string | null, int8: string | null }
Napi::Value reduced_kernels(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&] {
    const core::ReducedKernels kernels = core::reduced_kernels(string(info[0], {"The instruction set"}));
    const Napi::Object result = Napi::Object::New(env);
    const auto set = [&](const char* name, const std::string& isa) {
      result.Set(name, isa.empty() ? env.Null() : Napi::Value(Napi::String::New(env, isa)));
    };
    set("bf16", kernels.bf16);
    set("int8", kernels.int8);
    return result;
  });
}

core::Precision read_precision(const std::string& name) {
  for (int i = 0; i < core::kPrecisionCount; i++)
    if (name == core::kPrecisions[i].name) return static_cast<core::Precision>(i);
  throw core::Error(core::ErrorCode::kInternal, "The precision '" + name + "' is unknown.");
}

// multiplyAddRate(isa: string, precision: string, threads: number, milliseconds: number): Promise<number>, in
// FLOP/s
Napi::Value multiply_add_rate(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const std::string isa = string(info[0], {"The instruction set"});
    const core::Precision precision = read_precision(string(info[1], {"The precision"}));
    const int threads = static_cast<int>(integer(info[2], {"The number of threads"}, 1, kMostThreads));
    const double milliseconds = number(info[3], {"The time to measure"});
    if (!(milliseconds > 0 && milliseconds < 1e5))
      throw core::Error(core::ErrorCode::kInternal,
                        "The time to measure must be above 0 and below 1e5 milliseconds.");
    const auto rate = std::make_shared<double>(0);
    return PromiseWorker::start(
        env,
        [isa, precision, threads, milliseconds, rate] {
          *rate = core::multiply_add_rate(isa, precision, threads, milliseconds);
        },
        [rate](Napi::Env env) { return Napi::Number::New(env, *rate); });
  });
}

core::LibraryCandidates read_candidates(const Napi::Value& value) {
  const Napi::Object from = object(value, {"The libraries to open"});
  const Napi::Array names = from.GetPropertyNames();  // the addon's own array: no getter is behind it
  core::LibraryCandidates candidates;
  for (uint32_t i = 0; i < names.Length(); i++) {
    const std::string name = names.Get(i).As<Napi::String>().Utf8Value();
    candidates[name] = strings(from.Get(name), {"The paths of " + name}, /*most=*/1000);
  }
  return candidates;
}

// openLibraries(candidates: { [name]: string[] }): Promise<void>
Napi::Value open_libraries(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    return PromiseWorker::start(
        env, [candidates = read_candidates(info[0])] { core::open_libraries(candidates); },
        [](Napi::Env env) { return env.Undefined(); });
  });
}

// openDevices(candidates: { [name]: string[] }): Promise<string[]>; opens the libraries, too
Napi::Value open_devices(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const auto devices = std::make_shared<std::vector<std::string>>();
    return PromiseWorker::start(
        env,
        [candidates = read_candidates(info[0]), devices] {
          core::open_libraries(candidates);
          *devices = core::backend_capabilities();
        },
        [devices](Napi::Env env) { return to_array(env, *devices); });
  });
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  NativeSession::define(env, exports);
  register_resize(env, exports);
  register_compile(env, exports);
  exports.Set("capabilities", Napi::Function::New(env, capabilities, "capabilities"));
  exports.Set("reducedKernels", Napi::Function::New(env, reduced_kernels, "reducedKernels"));
  exports.Set("multiplyAddRate", Napi::Function::New(env, multiply_add_rate, "multiplyAddRate"));
  exports.Set("openLibraries", Napi::Function::New(env, open_libraries, "openLibraries"));
  exports.Set("openDevices", Napi::Function::New(env, open_devices, "openDevices"));
  const Napi::Object info = Napi::Object::New(env);
  info.Set("backend", core::backend_name());
  info.Set("compiler", __VERSION__);
  info.Set("operations", operations(env));
  info.Set("precisions", precisions(env));
  exports.Set("info", info);
  return exports;
}

NODE_API_MODULE(residual, init)

}  // namespace
}  // namespace residual::binding
