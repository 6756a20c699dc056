// A convolution and everything fused into it, as one cuDNN operation graph.
#pragma once

#include "cuda/conv_spec.h"
#include "cuda/descriptor.h"

namespace residual::cuda {

// conv -> (x scale) -> + bias -> (+ residual) -> (relu). Needs no device. Throws INTERNAL if cuDNN refuses
// it.
Descriptor build_conv_graph(const ConvSpec& spec);

}  // namespace residual::cuda
