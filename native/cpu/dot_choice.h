// The choice among the algorithms of a convolution of int8 or bf16 numbers.
#pragma once

#include <memory>
#include <vector>

#include "cpu/convolution.h"
#include "cpu/dot_numbers.h"

namespace residual::cpu {

// All algorithms for this geometry and source, best first as far as a fixed table knows. All of them give the
// same result, to the bit.
std::vector<Algorithm> dot_algorithms_for(const ConvGeometry& geometry, const core::Value& src,
                                          const DotKernels& kernels, Precedence precedence);

// Uses one of dot_algorithms_for(), or the direct one where the weights are too large for it. `bias` is [K];
// it and the weights are copied into `arena`. Throws what reading weights throws, and CHECKPOINT_INVALID
// where int8 results could be too large.
std::unique_ptr<Convolution> make_dot_convolution(const ConvGeometry& geometry, const DotNumbers& numbers,
                                                  const DotKernels& kernels, const Algorithm& algorithm,
                                                  core::StoredWeights& weights, const float* bias,
                                                  PageArena& arena);

}  // namespace residual::cpu
