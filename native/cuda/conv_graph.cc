#include "cuda/conv_graph.h"

#include <array>

namespace residual::cuda {
namespace {

using Dims = std::array<int64_t, 4>;  // N, C, H, W; for weights K, C, R, S

constexpr int64_t kAlignment = 16;  // bytes; the arena aligns to more

// The strides of a channels-last tensor: [N,H,W,C] in memory.
std::vector<int64_t> channels_last(const Dims& d) { return {d[1] * d[2] * d[3], 1, d[3] * d[1], d[1]}; }

Descriptor tensor(int64_t uid, cudnnDataType_t type, const Dims& dims) {
  Descriptor result(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  result.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, uid)
      .set(CUDNN_ATTR_TENSOR_DATA_TYPE, type)
      .set(CUDNN_ATTR_TENSOR_DIMENSIONS, std::vector<int64_t>(dims.begin(), dims.end()))
      .set(CUDNN_ATTR_TENSOR_STRIDES, channels_last(dims))
      .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, kAlignment)
      .set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, uid >= kFirstVirtual);
  return std::move(result.finalize("describe a tensor"));
}

Descriptor convolution(const ConvSpec& spec) {
  Descriptor result(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;  // what every framework calls convolution
  const std::vector<int64_t> padding(2, spec.padding);
  result.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT)
      .set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode)
      .set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, int64_t(2))
      .set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, padding)
      .set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, padding)
      .set(CUDNN_ATTR_CONVOLUTION_DILATIONS, std::vector<int64_t>(2, 1))
      .set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, std::vector<int64_t>(2, spec.stride));
  return std::move(result.finalize("describe a convolution"));
}

// Appends nodes, each of which reads what the previous one wrote. Setting a descriptor copies it, so it need
// not be kept.
class GraphBuilder {
 public:
  explicit GraphBuilder(const ConvSpec& spec)
      : spec_(spec), dst_{spec.batch, spec.dst_channels, spec.dst_height, spec.dst_width} {}

  void convolve() {
    Descriptor op(CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
    const cudnnDataType_t type = storage_type(spec_.precision);
    const Dims src{spec_.batch, spec_.channels, spec_.height, spec_.width};
    const Dims weight{spec_.dst_channels, spec_.channels / spec_.groups, spec_.kernel, spec_.kernel};
    value_ = result(/*last=*/false);
    op.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, convolution(spec_))
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, tensor(kSrc, type, src))
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, tensor(kWeight, type, weight))
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, value_)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, 1.0f)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, 0.0f);
    append(std::move(op));
  }

  // `operand`: null for relu.
  void pointwise(cudnnPointwiseMode_t mode, const Descriptor* operand, bool last) {
    Descriptor math(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    math.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode)
        .set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT)
        .finalize("describe a pointwise operation");
    Descriptor output = result(last);
    Descriptor op(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    op.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, math)
        .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, value_)
        .set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, output);
    if (operand) op.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, *operand);
    value_ = std::move(output);
    append(std::move(op));
  }

  Descriptor per_channel(Uid uid) const {
    return tensor(uid, CUDNN_DATA_FLOAT, Dims{1, spec_.dst_channels, 1, 1});
  }
  Descriptor residual() const { return tensor(kResidual, storage_type(spec_.precision), dst_); }

  Descriptor finish() {
    std::vector<cudnnBackendDescriptor_t> handles;
    for (const Descriptor& op : ops_) handles.push_back(op.get());
    Descriptor graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, handles.size(), handles.data());
    return std::move(graph.finalize("build an operation graph"));
  }

 private:
  Descriptor result(bool last) {
    return last ? tensor(kDst, spec_.dst_type(), dst_) : tensor(next_virtual_++, CUDNN_DATA_FLOAT, dst_);
  }

  void append(Descriptor op) {
    op.finalize("describe an operation");
    ops_.push_back(std::move(op));
  }

  const ConvSpec& spec_;
  const Dims dst_;
  std::vector<Descriptor> ops_;
  Descriptor value_;  // what the last node wrote
  int64_t next_virtual_ = kFirstVirtual;
};

}  // namespace

Descriptor build_conv_graph(const ConvSpec& spec) {
  GraphBuilder graph(spec);
  graph.convolve();
  if (spec.scale) {
    const Descriptor scale = graph.per_channel(kScale);
    graph.pointwise(CUDNN_POINTWISE_MUL, &scale, /*last=*/false);
  }
  const Descriptor bias = graph.per_channel(kBias);
  graph.pointwise(CUDNN_POINTWISE_ADD, &bias, /*last=*/!spec.residual && !spec.relu);
  if (spec.residual) {
    const Descriptor residual = graph.residual();
    graph.pointwise(CUDNN_POINTWISE_ADD, &residual, /*last=*/!spec.relu);
  }
  if (spec.relu) graph.pointwise(CUDNN_POINTWISE_RELU_FWD, nullptr, /*last=*/true);
  return graph.finish();
}

}  // namespace residual::cuda
