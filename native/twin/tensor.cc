#include "twin/tensor.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"

namespace residual::twin {
namespace {

template <typename T>
T converted(double value) {
  const double nearest = std::nearbyint(value);  // ties to even
  if (std::isnan(nearest)) return 0;             // as the GPU's conversions do
  return static_cast<T>(
      std::clamp(nearest, double(std::numeric_limits<T>::lowest()), double(std::numeric_limits<T>::max())));
}
template <>
float converted<float>(double value) {
  return static_cast<float>(value);
}
template <>
__half converted<__half>(double value) {
  return __float2half_rn(static_cast<float>(value));
}
template <>
__nv_bfloat16 converted<__nv_bfloat16>(double value) {
  return __float2bfloat16_rn(static_cast<float>(value));
}

template <typename T>
double number(T value) {
  return static_cast<double>(value);
}
double number(__half value) { return __half2float(value); }
double number(__nv_bfloat16 value) { return __bfloat162float(value); }

// Calls `body` with a value of the type.
template <typename Body>
auto with_type(DataType type, Body body) {
  switch (type) {
    case DataType::kHalf:
      return body(__half());
    case DataType::kBfloat16:
      return body(__nv_bfloat16());
    case DataType::kInt8:
      return body(int8_t());
    case DataType::kInt32:
      return body(int32_t());
    case DataType::kFloat:
      break;
  }
  return body(float());
}

}  // namespace

DataType data_type(const std::string& name) {
  if (name == "CUDNN_DATA_HALF") return DataType::kHalf;
  if (name == "CUDNN_DATA_BFLOAT16") return DataType::kBfloat16;
  if (name == "CUDNN_DATA_FLOAT") return DataType::kFloat;
  if (name == "CUDNN_DATA_INT8") return DataType::kInt8;
  if (name == "CUDNN_DATA_INT32") return DataType::kInt32;
  throw core::Error(core::ErrorCode::kInternal, "twin: cannot execute the plan: unknown type " + name + ".");
}

int64_t Tensor::count() const { return dims[0] * dims[1] * dims[2] * dims[3]; }

size_t Tensor::bytes() const {
  const int64_t last = offset(dims[0] - 1, dims[1] - 1, dims[2] - 1, dims[3] - 1);
  return (last + 1) * with_type(type, [](auto zero) { return sizeof zero; });
}

Values read(const Tensor& tensor, const void* data) {
  Values values(tensor.count());
  with_type(tensor.type, [&](auto zero) {
    const auto* from = static_cast<const decltype(zero)*>(data);
    for_each(tensor, [&](int64_t i, int64_t n, int64_t c, int64_t h, int64_t w) {
      values[i] = number(from[tensor.offset(n, c, h, w)]);
    });
  });
  return values;
}

void write(const Tensor& tensor, void* data, const Values& values) {
  with_type(tensor.type, [&](auto zero) {
    auto* to = static_cast<decltype(zero)*>(data);
    for_each(tensor, [&](int64_t i, int64_t n, int64_t c, int64_t h, int64_t w) {
      to[tensor.offset(n, c, h, w)] = converted<decltype(zero)>(values[i]);
    });
  });
}

void round_to(DataType type, Values& values) {
  with_type(type, [&](auto zero) {
    for (double& value : values) value = number(converted<decltype(zero)>(value));
  });
}

}  // namespace residual::twin
