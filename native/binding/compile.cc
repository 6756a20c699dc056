#include "binding/compile.h"

#include <memory>

#include "binding/errors.h"
#include "binding/plan_reader.h"
#include "binding/promise_worker.h"
#include "binding/values.h"
#include "core/backend.h"

namespace residual::binding {
namespace {

Napi::Object to_js(Napi::Env env, const core::CompiledOp& op) {
  const Napi::Object result = Napi::Object::New(env);
  result.Set("op", Napi::Number::New(env, double(op.op)));
  result.Set("key", op.key);
  result.Set("json", op.json);
  result.Set("workspaceBytes", Napi::Number::New(env, double(op.workspace_bytes)));
  result.Set("cached", op.cached);
  result.Set("reason", op.reason);
  return result;
}

Napi::Value compile_ahead(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    auto plan = std::make_shared<core::Plan>(read_plan(info[0]));
    const Napi::Object from = object(info[1], {"The compile options"});
    core::CompileOptions options;
    options.gpu = string(from.Get("gpu"), {"'gpu'"});
    options.precision = string(from.Get("precision"), {"'precision'"});
    options.batch = static_cast<int>(integer(from.Get("batch"), {"'batch'"}, 1, 65536));
    options.threads = static_cast<int>(integer(from.Get("threads"), {"'threads'"}, 1, kMostThreads));
    options.cache_folder = string(from.Get("planCache"), {"'planCache'"});
    auto result = std::make_shared<std::vector<core::CompiledOp>>();
    return PromiseWorker::start(
        env, [plan, options, result] { *result = core::compile_ahead(*plan, options); },
        [result](Napi::Env env) {
          const Napi::Array ops = Napi::Array::New(env, result->size());
          for (uint32_t i = 0; i < result->size(); i++) ops.Set(i, to_js(env, (*result)[i]));
          return ops;
        });
  });
}

}  // namespace

void register_compile(Napi::Env env, Napi::Object exports) {
  exports.Set("compileAhead", Napi::Function::New(env, compile_ahead, "compileAhead"));
}

}  // namespace residual::binding
