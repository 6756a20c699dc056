#include "binding/plan_reader.h"

#include <cmath>

#include "core/error.h"

namespace residual::binding {
namespace {

constexpr struct {
  const char* name;
  core::OpKind kind;
} kKinds[] = {
    {"normalize", core::OpKind::kNormalize}, {"conv", core::OpKind::kConv},
    {"maxPool", core::OpKind::kMaxPool},     {"avgPool", core::OpKind::kAvgPool},
    {"linear", core::OpKind::kLinear},       {"softmax", core::OpKind::kSoftmax},
    {"sigmoid", core::OpKind::kSigmoid},
};

[[noreturn]] void invalid(const std::string& where, const std::string& what) {
  throw core::Error(core::ErrorCode::kPlanInvalid, "The plan's " + where + " " + what + ".");
}

Napi::Object object(const Napi::Value& value, const std::string& where) {
  if (!value.IsObject()) invalid(where, "is not an object");
  return value.As<Napi::Object>();
}

Napi::Array array(const Napi::Object& of, const char* member) {
  const Napi::Value value = of.Get(member);
  if (!value.IsArray()) invalid(member, "is not an array");
  return value.As<Napi::Array>();
}

int integer(const Napi::Object& of, const char* member) {
  const Napi::Value value = of.Get(member);
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : NAN;
  if (!(std::abs(number) < 1e9) || number != std::floor(number)) invalid(member, "is not an integer");
  return static_cast<int>(number);
}

std::string string(const Napi::Object& of, const char* member) {
  const Napi::Value value = of.Get(member);
  if (!value.IsString()) invalid(member, "is not a string");
  return value.As<Napi::String>().Utf8Value();
}

std::vector<float> numbers(const Napi::Object& of, const char* member) {
  const Napi::Array values = array(of, member);
  std::vector<float> result(values.Length());
  for (uint32_t i = 0; i < values.Length(); i++) {
    const Napi::Value value = values.Get(i);
    if (!value.IsNumber()) invalid(member, "holds something that is not a number");
    result[i] = value.As<Napi::Number>().FloatValue();
  }
  return result;
}

core::OpKind kind(const std::string& name) {
  for (const auto& entry : kKinds)
    if (name == entry.name) return entry.kind;
  invalid("operations", "include one of the unknown kind '" + name + "'");
}

core::Op read_op(const Napi::Object& from) {
  core::Op op;
  op.kind = kind(string(from, "kind"));
  op.name = string(from, "name");
  op.dst = integer(from, "dst");
  if (op.kind == core::OpKind::kNormalize) {
    op.mean = numbers(from, "mean");
    op.std = numbers(from, "std");
    return op;
  }
  op.src = integer(from, "src");
  if (op.kind == core::OpKind::kConv || op.kind == core::OpKind::kMaxPool) {
    op.kernel = integer(from, "kernel");
    op.stride = integer(from, "stride");
    op.padding = integer(from, "padding");
  }
  if (op.kind == core::OpKind::kConv) {
    op.groups = integer(from, "groups");
    op.relu = from.Get("relu").ToBoolean();
    if (!from.Get("residual").IsNull()) op.residual = integer(from, "residual");
  }
  return op;
}

}  // namespace

core::Plan read_plan(const Napi::Value& value) {
  const Napi::Object from = object(value, "root");
  core::Plan plan;
  const Napi::Array values = array(from, "values"), ops = array(from, "ops");
  for (uint32_t i = 0; i < values.Length(); i++) {
    const Napi::Object shape = object(values.Get(i), "value");
    plan.values.push_back({integer(shape, "height"), integer(shape, "width"), integer(shape, "channels")});
  }
  for (uint32_t i = 0; i < ops.Length(); i++) plan.ops.push_back(read_op(object(ops.Get(i), "operation")));
  const Napi::Object outputs = object(from.Get("outputs"), "outputs");
  for (int i = 0; i < core::kOutputCount; i++)
    if (!outputs.Get(core::kOutputNames[i]).IsUndefined())
      plan.outputs[i] = integer(outputs, core::kOutputNames[i]);
  core::validate(plan);
  return plan;
}

}  // namespace residual::binding
