#include "binding/plan_reader.h"

#include "binding/values.h"

namespace residual::binding {
namespace {

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
  for (const core::OpRow& row : core::kOps)
    if (name == row.name) return row.kind;
  named("operations").refuse("include the unknown kind '" + name + "'");
}

core::Precision precision(const std::string& name) {
  for (int i = 0; i < core::kPrecisionCount; i++)
    if (name == core::kPrecisions[i].name) return static_cast<core::Precision>(i);
  named("values").refuse("include the unknown precision '" + name + "'");
}

void read_attribute(const Napi::Object& from, const core::Attribute& attribute, core::Op& op) {
  if (attribute.integer) op.*attribute.integer = integer(from, attribute.name);
  if (attribute.flag) op.*attribute.flag = boolean(from.Get(attribute.name), named(attribute.name));
  if (attribute.floats) op.*attribute.floats = floats(from, attribute.name);
}

core::Op read_op(const Napi::Object& from) {
  core::Op op;
  op.kind = kind(string(from.Get("kind"), named("kind")));
  op.name = string(from.Get("name"), named("name"));
  op.dst = index(from.Get("dst"), "dst");
  const core::OpRow& row = core::row_of(op.kind);
  for (const core::Operand& operand : row.operands) {
    if (!operand.name) break;
    const Napi::Value value = from.Get(operand.name);
    if (!operand.optional || !value.IsNull()) op.*operand.value = index(value, operand.name);
  }
  for (const core::Attribute& attribute : row.attributes)
    if (attribute.name) read_attribute(from, attribute, op);
  return op;
}

core::Value read_value(const Napi::Object& from) {
  core::Value value;
  value.height = integer(from, "height");
  value.width = integer(from, "width");
  value.channels = integer(from, "channels");
  const Napi::Value its_precision = from.Get("precision"), scale = from.Get("scale");
  if (!its_precision.IsUndefined()) value.precision = precision(string(its_precision, named("precision")));
  if (!scale.IsUndefined()) value.scale = static_cast<float>(number(scale, named("scale")));
  if (scale.IsUndefined() == core::row_of(value.precision).scaled)
    named("scale").refuse(scale.IsUndefined() ? "is missing" : "is given for a precision without one");
  return value;
}

}  // namespace

core::Plan read_plan(const Napi::Value& value) {
  const Napi::Object from = object(value, named("root"));
  core::Plan plan;
  for (const Napi::Value& each : elements(from.Get("values"), named("values"), kMostOps))
    plan.values.push_back(read_value(object(each, named("value"))));
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
