#include "twin/graph_interpreter.h"

#include <cstring>
#include <limits>

#include "core/error.h"
#include "twin/json.h"

namespace residual::twin {
namespace {

[[noreturn]] void fail(const std::string& what) {
  throw core::Error(core::ErrorCode::kInternal, "twin: cannot execute the plan: " + what + ".");
}

float round_to_tf32(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if ((bits & 0x7f800000) != 0x7f800000) bits = (bits + 0x1000) & ~0x1fffu;
  std::memcpy(&value, &bits, sizeof bits);
  return value;
}

// Refuses values that would change the result in ways not implemented here. The members are those that cuDNN
// 9.24 writes; one that another version lacks counts as having the expected value.
void expect_text(const Json& from, const char* name, const std::string& expected) {
  if (from.has(name) && from.at(name).text() != expected)
    fail(std::string("unknown ") + name + " " + from.at(name).text());
}
void expect_number(const Json& from, const char* name, double expected) {
  if (from.has(name) && from.at(name).number != expected)
    fail(std::string("unknown ") + name + " " + std::to_string(from.at(name).number));
}

int64_t uid(const Json& from) { return std::stoll(from.text()); }

Tensor parse_tensor(const Json& from) {
  Tensor tensor;
  tensor.uid = uid(from.at("name"));
  tensor.type = data_type(from.at("dataType").text());
  tensor.dims = from.at("dim").integers();
  tensor.strides = from.at("stride").integers();
  tensor.is_virtual = from.at("isVirtual").boolean;
  if (tensor.dims.size() != 4 || tensor.strides.size() != 4) fail("a tensor does not have four dimensions");
  expect_number(from, "vectCount", 1);
  expect_text(from, "reordering", "CUDNN_TENSOR_REORDERING_NONE");
  return tensor;
}

void parse_convolution(const Json& from, Node& node) {
  node.operation = Operation::kConvolution;
  node.operand = uid(from.at("W"));
  node.padding = from.at("pad").integers();
  node.stride = from.at("stride").integers();
  node.dilation = from.at("dilation").integers();
  node.integers = from.at("mathPrec").text() == "CUDNN_DATA_INT32";
  if (!node.integers) expect_text(from, "mathPrec", "CUDNN_DATA_FLOAT");
  expect_text(from, "mode", "CUDNN_CROSS_CORRELATION");
  expect_number(from, "alpha", 1);
  expect_number(from, "beta", 0);
}

void parse_pointwise(const Json& from, Node& node) {
  node.operation = Operation::kPointwise;
  node.mode = from.at("pointwiseMode").text();
  if (from.has("B")) node.operand = uid(from.at("B"));
  expect_text(from, "mathPrec", "CUDNN_DATA_FLOAT");
  for (const char* name : {"alpha1", "alpha2"}) expect_number(from, name, 1);
  for (const char* name : {"lowerClip", "lowerClipSlope"}) expect_number(from, name, 0);
  expect_number(from, "upperClip", std::numeric_limits<double>::max());
}

// Resample nodes use fractions where others use integers: [3,1] is 3.
std::vector<int64_t> whole_numbers(const Json& from) {
  std::vector<int64_t> result;
  for (const Json& element : from.array) {
    const std::vector<int64_t> fraction = element.integers();
    if (fraction.size() != 2 || fraction[1] != 1) fail("a window of fractions of pixels");
    result.push_back(fraction[0]);
  }
  return result;
}

void parse_resample(const Json& from, Node& node) {
  node.operation = Operation::kResample;
  node.mode = from.at("mode").text();
  node.padding_mode = from.at("paddingMode").text();
  node.window = whole_numbers(from.at("windowDim"));
  node.padding = whole_numbers(from.at("prePad"));
  node.stride = whole_numbers(from.at("stride"));
  expect_text(from, "compType", "CUDNN_DATA_FLOAT");
  expect_text(from, "nanOpt", "CUDNN_PROPAGATE_NAN");
  expect_number(from, "alpha", 1);
  expect_number(from, "beta", 0);
}

Node parse_node(const Json& from) {
  Node node;
  const std::string& operation = from.at("operation").text();
  if (operation == "CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR")
    parse_convolution(from, node);
  else if (operation == "CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR")
    parse_pointwise(from, node);
  else if (operation == "CUDNN_BACKEND_OPERATION_RESAMPLE_FWD_DESCRIPTOR")
    parse_resample(from, node);
  else
    fail("unknown operation " + operation);
  node.x = uid(from.at("X"));
  node.y = uid(from.at("Y"));
  return node;
}

}  // namespace

PlanGraph::PlanGraph(const std::string& plan_json, bool tf32) : tf32_(tf32) {
  const Json plan = Json::parse(plan_json);
  const Json& graph = plan.at("operationGraph");
  for (const Json& from : graph.at("tensors").array) tensors_.push_back(parse_tensor(from));
  for (const Json& from : graph.at("nodes").array) nodes_.push_back(parse_node(from));
  for (Tensor& tensor : tensors_)
    for (const Node& node : nodes_) tensor.is_result |= node.y == tensor.uid;
}

const Tensor& PlanGraph::tensor(int64_t uid) const {
  for (const Tensor& tensor : tensors_)
    if (tensor.uid == uid) return tensor;
  fail("there is no tensor " + std::to_string(uid));
}

void PlanGraph::execute(const std::map<int64_t, void*>& memory) const {
  std::map<int64_t, Values> values;  // of every tensor so far
  const auto get = [&](int64_t uid) -> const Values& {
    if (const auto found = values.find(uid); found != values.end()) return found->second;
    const auto bound = memory.find(uid);
    if (bound == memory.end()) fail("nothing is bound to tensor " + std::to_string(uid));
    return values[uid] = read(tensor(uid), bound->second);
  };
  const auto multiplied = [&](int64_t uid) {  // as the tensor cores read it
    Values result = get(uid);
    if (tf32_)
      for (double& value : result) value = round_to_tf32(static_cast<float>(value));
    return result;
  };
  for (const Node& node : nodes_) {
    const Tensor &x = tensor(node.x), &y = tensor(node.y);
    Values result;
    if (node.operation == Operation::kConvolution) {
      const Values src = multiplied(node.x), weight = multiplied(node.operand);
      result = convolve(node, y, {x, src}, {tensor(node.operand), weight});
    } else if (node.operation == Operation::kResample) {
      result = resample(node, y, {x, get(node.x)});
    } else if (node.operand) {
      const Operand by{tensor(node.operand), get(node.operand)};
      result = pointwise(node, y, {x, get(node.x)}, &by);
    } else {
      result = pointwise(node, y, {x, get(node.x)}, nullptr);
    }
    round_to(y.type, result);
    if (const auto bound = memory.find(node.y); bound != memory.end()) write(y, bound->second, result);
    values[node.y] = std::move(result);
  }
}

}  // namespace residual::twin
