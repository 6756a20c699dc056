// Has cuDNN compile a graph that the backend would not build, described in JSON.
#pragma once

#include "cuda/descriptor.h"
#include "twin/json.h"

namespace residual::twin {

// {tensors: [{uid, type, dim, stride, isVirtual}], nodes: [{operation: 'conv' | 'pointwise' | 'resample', x,
// y, ...}]}, types and modes by cuDNN's names; test/support/probe.ts has them all. Throws INTERNAL if cuDNN
// refuses it.
cuda::Descriptor build_graph(const Json& graph);

}  // namespace residual::twin
