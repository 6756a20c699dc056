#include "twin/graph_nodes.h"

#include <cmath>
#include <limits>

#include "core/error.h"

namespace residual::twin {
namespace {

[[noreturn]] void fail(const std::string& what) {
  throw core::Error(core::ErrorCode::kInternal, "twin: cannot execute the plan: " + what + ".");
}

template <typename T>
Values convolve_as(const Node& node, const Tensor& y, const Operand& x, const Operand& weight) {
  const std::vector<T> src(x.values.begin(), x.values.end());
  const std::vector<T> by(weight.values.begin(), weight.values.end());
  const std::vector<int64_t>&from_dims = x.tensor.dims, &window = weight.tensor.dims;
  const int64_t channels = window[1], per_group = y.dims[1] / (from_dims[1] / channels);
  Values dst(y.count());
  for_each(y, [&](int64_t i, int64_t n, int64_t k, int64_t p, int64_t q) {
    double sum = 0.0;
    for (int64_t r = 0; r < window[2]; r++) {
      const int64_t h = p * node.stride[0] - node.padding[0] + r * node.dilation[0];
      if (h < 0 || h >= from_dims[2]) continue;
      for (int64_t s = 0; s < window[3]; s++) {
        const int64_t v = q * node.stride[1] - node.padding[1] + s * node.dilation[1];
        if (v < 0 || v >= from_dims[3]) continue;
        const T* a =
            &src[((n * from_dims[2] + h) * from_dims[3] + v) * from_dims[1] + k / per_group * channels];
        const T* b = &by[((k * window[2] + r) * window[3] + s) * channels];
        T lanes[8] = {};
        int64_t c = 0;
        for (; c + 8 <= channels; c += 8)
          for (int j = 0; j < 8; j++) lanes[j] += a[c + j] * b[c + j];
        for (; c < channels; c++) lanes[0] += a[c] * b[c];
        for (const T lane : lanes) sum += lane;
      }
    }
    dst[i] = sum;
  });
  return dst;
}

// Where among an operand's numbers is the one that belongs to (n, c, h, w)?
class Repeated {
 public:
  Repeated(const Tensor& operand, const Tensor& y) {
    const std::vector<int64_t>& d = operand.dims;
    for (int i = 0; i < 4; i++)
      if (d[i] != 1 && d[i] != y.dims[i]) fail("operands of different shapes");
    const int64_t dense[] = {d[1] * d[2] * d[3], 1, d[3] * d[1], d[1]};
    for (int i = 0; i < 4; i++) strides_[i] = d[i] == 1 ? 0 : dense[i];
  }
  int64_t at(int64_t n, int64_t c, int64_t h, int64_t w) const {
    return n * strides_[0] + c * strides_[1] + h * strides_[2] + w * strides_[3];
  }

 private:
  int64_t strides_[4];
};

template <typename Body>
Values combined(const Tensor& y, const Operand& x, const Operand& by, Body body) {
  const Repeated left(x.tensor, y), right(by.tensor, y);
  Values dst(y.count());
  for_each(y, [&](int64_t i, int64_t n, int64_t c, int64_t h, int64_t w) {
    dst[i] = body(x.values[left.at(n, c, h, w)], by.values[right.at(n, c, h, w)]);
  });
  return dst;
}

}  // namespace

Values convolve(const Node& node, const Tensor& y, const Operand& x, const Operand& weight) {
  for (const Operand* operand : {&x, &weight})
    if ((operand->tensor.type == DataType::kInt8) != node.integers)
      fail("a convolution whose operands are not of the type it computes in");
  return node.integers ? convolve_as<int32_t>(node, y, x, weight) : convolve_as<float>(node, y, x, weight);
}

Values pointwise(const Node& node, const Tensor& y, const Operand& x, const Operand* by) {
  const bool unary = node.mode == "CUDNN_POINTWISE_RELU_FWD" || node.mode == "CUDNN_POINTWISE_IDENTITY";
  if (unary && x.tensor.dims != y.dims) fail("operands of different shapes");
  if (node.mode == "CUDNN_POINTWISE_IDENTITY") return x.values;
  if (node.mode == "CUDNN_POINTWISE_RELU_FWD") {
    Values dst = x.values;
    for (double& value : dst) value = value < 0.0 ? 0.0 : value;  // NaN stays
    return dst;
  }
  const bool add = node.mode == "CUDNN_POINTWISE_ADD";
  if (!add && node.mode != "CUDNN_POINTWISE_MUL") fail("unknown mode " + node.mode);
  if (!by) fail(node.mode + " without a second operand");
  // The sum or product of two numbers of float32, rounded to it from double, is what float32 arithmetic
  // gives.
  return add ? combined(y, x, *by, [](double a, double b) { return a + b; })
             : combined(y, x, *by, [](double a, double b) { return a * b; });
}

Values resample(const Node& node, const Tensor& y, const Operand& x) {
  const bool largest = node.mode == "CUDNN_RESAMPLE_MAXPOOL";
  const bool excluding = node.mode == "CUDNN_RESAMPLE_AVGPOOL_EXCLUDE_PADDING";
  if (!largest && !excluding && node.mode != "CUDNN_RESAMPLE_AVGPOOL_INCLUDE_PADDING")
    fail("unknown mode " + node.mode);
  // So that what lies outside adds nothing and is never the largest.
  if (node.padding_mode != (largest ? "CUDNN_NEG_INF_PAD" : "CUDNN_ZERO_PAD"))
    fail("unknown mode " + node.mode + " with padding " + node.padding_mode);

  const std::vector<int64_t>& d = x.tensor.dims;
  Values dst(y.count());
  for_each(y, [&](int64_t i, int64_t n, int64_t c, int64_t p, int64_t q) {
    double sum = 0.0, maximum = -std::numeric_limits<double>::infinity();
    int64_t inside = 0;
    for (int64_t r = 0; r < node.window[0]; r++) {
      const int64_t h = p * node.stride[0] - node.padding[0] + r;
      if (h < 0 || h >= d[2]) continue;
      for (int64_t s = 0; s < node.window[1]; s++) {
        const int64_t w = q * node.stride[1] - node.padding[1] + s;
        if (w < 0 || w >= d[3]) continue;
        const double value = x.values[((n * d[2] + h) * d[3] + w) * d[1] + c];
        sum += value;
        inside++;
        if (value > maximum || std::isnan(value)) maximum = value;  // NaN stays, as nothing is above it
      }
    }
    const int64_t count = excluding ? inside : node.window[0] * node.window[1];
    dst[i] = largest ? maximum : sum / double(count);
  });
  return dst;
}

}  // namespace residual::twin
