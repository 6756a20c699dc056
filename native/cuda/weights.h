// Uploads an operation's weights to the GPU: converted to the precision, padded, once.
#pragma once

#include "core/stored_weights.h"
#include "cuda/device.h"
#include "cuda/layout.h"

namespace residual::cuda {

// In fp16, every output channel's weights are divided by a power of two that brings the largest into [0.5,
// 1), and the convolution's sums are multiplied by it in float32: folded batch norms can leave weights
// outside the range of fp16 (6e-5 to 65504 without loss), and scaling by powers of two is exact.
struct OpWeights {
  DeviceBuffer memory;  // of all the members below
  // [dst_padded, R, S, weight_channels], zeros in the padding; kPointwise: float [padded]
  const void* weight = nullptr;
  const float* scale = nullptr;  // [dst_padded]; fp16 only. normalize: [channels]
  const float* bias = nullptr;   // [dst_padded]. normalize: [channels]
};

// Uploads a conv or linear op's weights and its `bias` [K], both on the host. Throws what folding throws.
OpWeights upload_weights(const core::Plan& plan, const Layout& layout, const core::Op& op,
                         core::StoredWeights& weights, const float* bias,
                         const std::shared_ptr<Device>& device, Stream& stream);

// Uploads normalize's scale and shift, which turn a byte into a normalised number.
OpWeights upload_normalization(const core::Op& op, const std::shared_ptr<Device>& device, Stream& stream);

}  // namespace residual::cuda
