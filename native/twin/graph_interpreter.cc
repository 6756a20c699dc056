#include "twin/graph_interpreter.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "twin/json.h"

namespace residual::twin {
namespace {

[[noreturn]] void fail(const std::string& what) {
  throw core::Error(core::ErrorCode::kInternal, "twin: cannot execute the plan: " + what + ".");
}

size_t element_bytes(const std::string& type) {
  if (type == "CUDNN_DATA_HALF" || type == "CUDNN_DATA_BFLOAT16") return 2;
  if (type == "CUDNN_DATA_FLOAT") return 4;
  fail("the type " + type + " is not known");
}

float load(const std::string& type, const void* data, int64_t at) {
  if (type == "CUDNN_DATA_HALF") return __half2float(static_cast<const __half*>(data)[at]);
  if (type == "CUDNN_DATA_BFLOAT16") return __bfloat162float(static_cast<const __nv_bfloat16*>(data)[at]);
  return static_cast<const float*>(data)[at];
}

void store(const std::string& type, void* data, int64_t at, float value) {
  if (type == "CUDNN_DATA_HALF")
    static_cast<__half*>(data)[at] = __float2half_rn(value);
  else if (type == "CUDNN_DATA_BFLOAT16")
    static_cast<__nv_bfloat16*>(data)[at] = __float2bfloat16_rn(value);
  else
    static_cast<float*>(data)[at] = value;
}

float round_to_tf32(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if ((bits & 0x7f800000) != 0x7f800000) bits = (bits + 0x1000) & ~0x1fffu;
  std::memcpy(&value, &bits, sizeof bits);
  return value;
}

// The numbers of a tensor, dense, in the order of its dimensions but channels last: [N,H,W,C].
using Values = std::vector<float>;

template <typename Body>
void for_each(const Tensor& t, Body body) {
  int64_t i = 0;
  for (int64_t n = 0; n < t.dims[0]; n++)
    for (int64_t h = 0; h < t.dims[2]; h++)
      for (int64_t w = 0; w < t.dims[3]; w++)
        for (int64_t c = 0; c < t.dims[1]; c++, i++)
          body(i, n * t.strides[0] + c * t.strides[1] + h * t.strides[2] + w * t.strides[3]);
}

Values read(const Tensor& tensor, const void* data) {
  Values values(tensor.count());
  for_each(tensor, [&](int64_t i, int64_t at) { values[i] = load(tensor.type, data, at); });
  return values;
}

void write(const Tensor& tensor, void* data, const Values& values) {
  for_each(tensor, [&](int64_t i, int64_t at) { store(tensor.type, data, at, values[i]); });
}

Values convolve(const Node& node, const Tensor& x, const Tensor& w, const Tensor& y, const Values& src,
                const Values& weight) {
  const int64_t channels = w.dims[1], groups = x.dims[1] / channels, per_group = y.dims[1] / groups;
  Values dst(y.count());
  int64_t i = 0;
  for (int64_t n = 0; n < y.dims[0]; n++)
    for (int64_t p = 0; p < y.dims[2]; p++)
      for (int64_t q = 0; q < y.dims[3]; q++)
        for (int64_t k = 0; k < y.dims[1]; k++, i++) {
          double sum = 0.0;
          for (int64_t r = 0; r < w.dims[2]; r++) {
            const int64_t h = p * node.stride[0] - node.padding[0] + r * node.dilation[0];
            if (h < 0 || h >= x.dims[2]) continue;
            for (int64_t s = 0; s < w.dims[3]; s++) {
              const int64_t v = q * node.stride[1] - node.padding[1] + s * node.dilation[1];
              if (v < 0 || v >= x.dims[3]) continue;
              const float* from =
                  &src[((n * x.dims[2] + h) * x.dims[3] + v) * x.dims[1] + k / per_group * channels];
              const float* by = &weight[((k * w.dims[2] + r) * w.dims[3] + s) * channels];
              float lanes[8] = {};
              int64_t c = 0;
              for (; c + 8 <= channels; c += 8)
                for (int j = 0; j < 8; j++) lanes[j] += from[c + j] * by[c + j];
              for (; c < channels; c++) lanes[0] += from[c] * by[c];
              for (const float lane : lanes) sum += lane;
            }
          }
          dst[i] = static_cast<float>(sum);
        }
  return dst;
}

// Operands of one number per channel, or as many as there are.
Values pointwise(const Node& node, const Tensor& y, const Values& x, const Tensor* operand,
                 const Values& by) {
  Values dst(x.size());
  if (node.mode == "CUDNN_POINTWISE_RELU_FWD") {
    for (size_t i = 0; i < x.size(); i++) dst[i] = x[i] < 0.0f ? 0.0f : x[i];
    return dst;
  }
  if (!operand) fail(node.mode + " without a second operand");
  const bool per_channel = operand->dims != y.dims;
  if (per_channel && operand->dims != std::vector<int64_t>{1, y.dims[1], 1, 1})
    fail("operands of different shapes");
  for (size_t i = 0; i < x.size(); i++) {
    const float b = per_channel ? by[i % y.dims[1]] : by[i];
    if (node.mode == "CUDNN_POINTWISE_ADD")
      dst[i] = x[i] + b;
    else if (node.mode == "CUDNN_POINTWISE_MUL")
      dst[i] = x[i] * b;
    else
      fail("the mode " + node.mode + " is not known");
  }
  return dst;
}

}  // namespace

int64_t Tensor::count() const { return dims[0] * dims[1] * dims[2] * dims[3]; }

size_t Tensor::bytes() const {
  int64_t last = 0;
  for (size_t i = 0; i < dims.size(); i++) last += (dims[i] - 1) * strides[i];
  return (last + 1) * element_bytes(type);
}

PlanGraph::PlanGraph(const std::string& plan_json, bool tf32) : tf32_(tf32) {
  const Json plan = Json::parse(plan_json);
  const Json& graph = plan.at("operationGraph");
  for (const Json& from : graph.at("tensors").array) {
    Tensor tensor;
    tensor.uid = std::stoll(from.at("name").text());
    tensor.type = from.at("dataType").text();
    tensor.dims = from.at("dim").integers();
    tensor.strides = from.at("stride").integers();
    tensor.is_virtual = from.at("isVirtual").boolean;
    if (tensor.dims.size() != 4 || tensor.strides.size() != 4) fail("a tensor has not four dimensions");
    tensors_.push_back(std::move(tensor));
  }
  for (const Json& from : graph.at("nodes").array) {
    Node node;
    node.operation = from.at("operation").text();
    node.x = std::stoll(from.at("X").text());
    node.y = std::stoll(from.at("Y").text());
    if (from.has("W")) node.operand = std::stoll(from.at("W").text());
    if (from.has("B")) node.operand = std::stoll(from.at("B").text());
    if (from.has("pointwiseMode")) node.mode = from.at("pointwiseMode").text();
    if (from.has("pad")) {
      node.padding = from.at("pad").integers();
      node.stride = from.at("stride").integers();
      node.dilation = from.at("dilation").integers();
    }
    nodes_.push_back(std::move(node));
  }
}

const Tensor& PlanGraph::tensor(int64_t uid) const {
  for (const Tensor& tensor : tensors_)
    if (tensor.uid == uid) return tensor;
  fail("there is no tensor " + std::to_string(uid));
}

void PlanGraph::execute(const std::map<int64_t, void*>& memory) const {
  std::map<int64_t, Values> values;  // of virtual tensors
  const auto get = [&](int64_t uid) -> Values {
    if (const auto found = values.find(uid); found != values.end()) return found->second;
    const auto found = memory.find(uid);
    if (found == memory.end()) fail("nothing is bound to tensor " + std::to_string(uid));
    return read(tensor(uid), found->second);
  };
  const auto multiplied = [&](int64_t uid) {  // as the tensor cores see it
    Values result = get(uid);
    if (tf32_)
      for (float& value : result) value = round_to_tf32(value);
    return result;
  };
  for (const Node& node : nodes_) {
    const Tensor& y = tensor(node.y);
    Values result;
    if (node.operation == "CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR")
      result = convolve(node, tensor(node.x), tensor(node.operand), y, multiplied(node.x),
                        multiplied(node.operand));
    else if (node.operation == "CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR")
      result = pointwise(node, y, get(node.x), node.operand ? &tensor(node.operand) : nullptr,
                         node.operand ? get(node.operand) : Values());
    else
      fail("the operation " + node.operation + " is not known");
    const auto bound = memory.find(node.y);
    if (bound != memory.end())
      write(y, bound->second, result);
    else
      values[node.y] = std::move(result);
  }
}

}  // namespace residual::twin
