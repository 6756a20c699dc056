#include "cpu/convolution.h"

#include "cpu/direct_conv.h"
#include "cpu/winograd_conv.h"

namespace residual::cpu {

std::unique_ptr<Convolution> make_convolution(const ConvGeometry& geometry, const Kernels& kernels,
                                              const float* weight, const float* bias, bool exact) {
  if (!exact && WinogradConv::pays(geometry, kernels))
    return std::make_unique<WinogradConv>(geometry, kernels, weight, bias);
  return std::make_unique<DirectConv>(geometry, kernels, weight, bias);
}

}  // namespace residual::cpu
