// How does a convolution with all that is fused into it become one operation graph of cuDNN?
#pragma once

#include "cuda/conv_spec.h"
#include "cuda/descriptor.h"

namespace residual::cuda {

// conv -> (x scale) -> + bias -> (+ residual) -> (relu). Needs no device.
// Throws INTERNAL where cuDNN refuses it.
Descriptor build_conv_graph(const ConvSpec& spec);

}  // namespace residual::cuda
