#include "binding/plan_reader.h"

#include "binding/values.h"

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

constexpr int64_t kMostInteger = 1'000'000'000;
constexpr size_t kMostOps = size_t(1) << 16;  // and values: ResNet-152 has 160

Name named(const std::string& where) { return {"The plan's " + where, core::ErrorCode::kPlanInvalid}; }

int integer(const Napi::Object& of, const char* member) {
  return static_cast<int>(integer(of.Get(member), named(member), -kMostInteger, kMostInteger));
}

// The index of a value. core::validate checks that it exists.
int index(const Napi::Value& value, const char* member) {
  return static_cast<int>(integer(value, named(member), 0, kMostInteger));
}

std::vector<float> floats(const Napi::Object& of, const char* member) {
  const Name element = named(std::string(member) + " element");
  std::vector<float> result;
  for (const Napi::Value& value : elements(of.Get(member), named(member), core::kMaxExtent))
    result.push_back(static_cast<float>(number(value, element)));
  return result;
}

core::OpKind kind(const std::string& name) {
  for (const auto& entry : kKinds)
    if (name == entry.name) return entry.kind;
  named("operations").refuse("include the unknown kind '" + name + "'");
}

core::Op read_op(const Napi::Object& from) {
  core::Op op;
  op.kind = kind(string(from.Get("kind"), named("kind")));
  op.name = string(from.Get("name"), named("name"));
  op.dst = index(from.Get("dst"), "dst");
  if (op.kind == core::OpKind::kNormalize) {
    op.mean = floats(from, "mean");
    op.std = floats(from, "std");
    return op;
  }
  op.src = index(from.Get("src"), "src");
  if (op.kind == core::OpKind::kConv || op.kind == core::OpKind::kMaxPool) {
    op.kernel = integer(from, "kernel");
    op.stride = integer(from, "stride");
    op.padding = integer(from, "padding");
  }
  if (op.kind == core::OpKind::kConv) {
    op.groups = integer(from, "groups");
    op.relu = boolean(from.Get("relu"), named("relu"));
    const Napi::Value residual = from.Get("residual");
    if (!residual.IsNull()) op.residual = index(residual, "residual");
  }
  return op;
}

}  // namespace

core::Plan read_plan(const Napi::Value& value) {
  const Napi::Object from = object(value, named("root"));
  core::Plan plan;
  for (const Napi::Value& each : elements(from.Get("values"), named("values"), kMostOps)) {
    const Napi::Object shape = object(each, named("value"));
    const int height = integer(shape, "height"), width = integer(shape, "width");
    plan.values.push_back({height, width, integer(shape, "channels")});
  }
  for (const Napi::Value& each : elements(from.Get("ops"), named("ops"), kMostOps))
    plan.ops.push_back(read_op(object(each, named("operation"))));
  const Napi::Object outputs = object(from.Get("outputs"), named("outputs"));
  for (int i = 0; i < core::kOutputCount; i++) {
    const Napi::Value output = outputs.Get(core::kOutputNames[i]);
    if (!output.IsUndefined()) plan.outputs[i] = index(output, core::kOutputNames[i]);
  }
  core::validate(plan);
  return plan;
}

}  // namespace residual::binding
