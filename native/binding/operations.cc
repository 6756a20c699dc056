#include "binding/operations.h"

#include "core/ops.h"

namespace residual::binding {
namespace {

Napi::Object to_js(Napi::Env env, const core::Operand& operand) {
  const Napi::Object result = Napi::Object::New(env);
  result.Set("name", operand.name);
  result.Set("shape", core::kOperandShapeNames[int(operand.shape)]);
  result.Set("optional", operand.optional);
  return result;
}

Napi::Object to_js(Napi::Env env, const core::Attribute& attribute) {
  const Napi::Object result = Napi::Object::New(env);
  result.Set("name", attribute.name);
  result.Set("type", attribute.integer ? "integer" : attribute.flag ? "flag" : "floats");
  result.Set("least", attribute.least);
  result.Set("most", attribute.integer ? float(core::kMaxExtent) : attribute.most);
  return result;
}

// Of those that have a name.
template <typename List>
Napi::Array named_to_js(Napi::Env env, const List& list) {
  const Napi::Array result = Napi::Array::New(env);
  for (const auto& each : list)
    if (each.name) result.Set(result.Length(), to_js(env, each));
  return result;
}

}  // namespace

Napi::Array operations(Napi::Env env) {
  const Napi::Array result = Napi::Array::New(env);
  for (const core::OpRow& row : core::kOps) {
    const Napi::Object entry = Napi::Object::New(env);
    entry.Set("kind", row.name);
    entry.Set("operands", named_to_js(env, row.operands));
    entry.Set("attributes", named_to_js(env, row.attributes));
    entry.Set("extent", core::kExtentNames[int(row.extent)]);
    entry.Set("channels", core::kChannelsNames[int(row.channels)]);
    entry.Set("weighted", row.weighted);
    entry.Set("activation", row.activation);
    result.Set(result.Length(), entry);
  }
  return result;
}

Napi::Array precisions(Napi::Env env) {
  const Napi::Array result = Napi::Array::New(env);
  for (const core::PrecisionRow& row : core::kPrecisions) {
    const Napi::Object entry = Napi::Object::New(env);
    entry.Set("name", row.name);
    entry.Set("bytes", Napi::Number::New(env, double(row.bytes)));
    entry.Set("scaled", row.scaled);
    result.Set(result.Length(), entry);
  }
  return result;
}

}  // namespace residual::binding
