#include "twin/probe/graphs.h"

#include <vector>

#include "core/error.h"

namespace residual::twin {
namespace {

using cuda::Descriptor;

template <typename T>
struct Named {
  const char* name;
  T value;
};
#define RESIDUAL_NAMED(value) \
  {                           \
#value, value             \
  }
constexpr Named<cudnnDataType_t> kTypes[] = {
    RESIDUAL_NAMED(CUDNN_DATA_HALF),  RESIDUAL_NAMED(CUDNN_DATA_BFLOAT16), RESIDUAL_NAMED(CUDNN_DATA_FLOAT),
    RESIDUAL_NAMED(CUDNN_DATA_INT32), RESIDUAL_NAMED(CUDNN_DATA_INT8),     RESIDUAL_NAMED(CUDNN_DATA_DOUBLE)};
constexpr Named<cudnnPointwiseMode_t> kPointwiseModes[] = {
    RESIDUAL_NAMED(CUDNN_POINTWISE_ADD), RESIDUAL_NAMED(CUDNN_POINTWISE_MUL),
    RESIDUAL_NAMED(CUDNN_POINTWISE_RELU_FWD), RESIDUAL_NAMED(CUDNN_POINTWISE_IDENTITY),
    RESIDUAL_NAMED(CUDNN_POINTWISE_TANH_FWD)};
constexpr Named<cudnnResampleMode_t> kResampleModes[] = {
    RESIDUAL_NAMED(CUDNN_RESAMPLE_MAXPOOL), RESIDUAL_NAMED(CUDNN_RESAMPLE_AVGPOOL_INCLUDE_PADDING),
    RESIDUAL_NAMED(CUDNN_RESAMPLE_AVGPOOL_EXCLUDE_PADDING)};
constexpr Named<cudnnPaddingMode_t> kPaddingModes[] = {
    RESIDUAL_NAMED(CUDNN_ZERO_PAD), RESIDUAL_NAMED(CUDNN_NEG_INF_PAD), RESIDUAL_NAMED(CUDNN_EDGE_VAL_PAD)};
#undef RESIDUAL_NAMED

template <typename T, size_t N>
T by_name(const Named<T> (&all)[N], const Json& name) {
  for (const Named<T>& one : all)
    if (name.text() == one.name) return one.value;
  throw core::Error(core::ErrorCode::kInternal, "probe: unknown name " + name.text() + ".");
}

Descriptor tensor(const Json& graph, const Json& uid) {
  for (const Json& from : graph.at("tensors").array) {
    if (from.at("uid").integer() != uid.integer()) continue;
    Descriptor result(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    result.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, uid.integer())
        .set(CUDNN_ATTR_TENSOR_DATA_TYPE, by_name(kTypes, from.at("type")))
        .set(CUDNN_ATTR_TENSOR_DIMENSIONS, from.at("dim").integers())
        .set(CUDNN_ATTR_TENSOR_STRIDES, from.at("stride").integers())
        .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, int64_t(16))
        .set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, from.at("isVirtual").boolean);
    return std::move(result.finalize("describe a tensor"));
  }
  throw core::Error(core::ErrorCode::kInternal, "probe: a node's tensor is not described.");
}

Descriptor conv(const Json& graph, const Json& node) {
  Descriptor math(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
  math.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, by_name(kTypes, node.at("math")))
      .set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode)
      .set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, int64_t(2))
      .set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, node.at("pre").integers())
      .set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, node.at("post").integers())
      .set(CUDNN_ATTR_CONVOLUTION_DILATIONS, node.at("dilation").integers())
      .set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, node.at("stride").integers())
      .finalize("describe a convolution");
  Descriptor op(CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
  op.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, math)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, tensor(graph, node.at("x")))
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, tensor(graph, node.at("w")))
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, tensor(graph, node.at("y")))
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, 1.0f)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, 0.0f);
  return op;
}

Descriptor pointwise(const Json& graph, const Json& node) {
  Descriptor math(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  const cudnnPointwiseMode_t mode = by_name(kPointwiseModes, node.at("mode"));
  math.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode)
      .set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT)
      .finalize("describe a pointwise operation");
  Descriptor op(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  op.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, math)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, tensor(graph, node.at("x")))
      .set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, tensor(graph, node.at("y")));
  if (node.has("b")) op.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, tensor(graph, node.at("b")));
  return op;
}

Descriptor resample(const Json& graph, const Json& node) {
  Descriptor math(CUDNN_BACKEND_RESAMPLE_DESCRIPTOR);
  const cudnnResampleMode_t mode = by_name(kResampleModes, node.at("mode"));
  const cudnnPaddingMode_t padding = by_name(kPaddingModes, node.at("padding"));
  const cudnnNanPropagation_t nan = CUDNN_PROPAGATE_NAN;
  math.set(CUDNN_ATTR_RESAMPLE_MODE, CUDNN_TYPE_RESAMPLE_MODE, 1, &mode)
      .set(CUDNN_ATTR_RESAMPLE_COMP_TYPE, CUDNN_DATA_FLOAT)
      .set(CUDNN_ATTR_RESAMPLE_NAN_PROPAGATION, CUDNN_TYPE_NAN_PROPOGATION, 1, &nan)
      .set(CUDNN_ATTR_RESAMPLE_PADDING_MODE, CUDNN_TYPE_PADDING_MODE, 1, &padding)
      .set(CUDNN_ATTR_RESAMPLE_SPATIAL_DIMS, int64_t(2))
      .set(CUDNN_ATTR_RESAMPLE_WINDOW_DIMS, node.at("window").integers())
      .set(CUDNN_ATTR_RESAMPLE_STRIDES, node.at("stride").integers())
      .set(CUDNN_ATTR_RESAMPLE_PRE_PADDINGS, node.at("pre").integers())
      .set(CUDNN_ATTR_RESAMPLE_POST_PADDINGS, node.at("post").integers())
      .finalize("describe a resampling");
  Descriptor op(CUDNN_BACKEND_OPERATION_RESAMPLE_FWD_DESCRIPTOR);
  op.set(CUDNN_ATTR_OPERATION_RESAMPLE_FWD_DESC, math)
      .set(CUDNN_ATTR_OPERATION_RESAMPLE_FWD_XDESC, tensor(graph, node.at("x")))
      .set(CUDNN_ATTR_OPERATION_RESAMPLE_FWD_YDESC, tensor(graph, node.at("y")));
  return op;
}

}  // namespace

Descriptor build_graph(const Json& graph) {
  std::vector<Descriptor> ops;
  std::vector<cudnnBackendDescriptor_t> handles;
  for (const Json& node : graph.at("nodes").array) {
    const std::string& operation = node.at("operation").text();
    Descriptor op = operation == "conv"        ? conv(graph, node)
                    : operation == "pointwise" ? pointwise(graph, node)
                                               : resample(graph, node);
    ops.push_back(std::move(op.finalize("describe an operation")));
    handles.push_back(ops.back().get());
  }
  Descriptor result(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  result.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, handles.size(), handles.data());
  return std::move(result.finalize("build an operation graph"));
}

}  // namespace residual::twin
