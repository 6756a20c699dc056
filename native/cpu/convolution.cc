#include "cpu/convolution.h"

#include <algorithm>

#include "cpu/direct_conv.h"
#include "cpu/parts.h"
#include "cpu/winograd_conv.h"

namespace residual::cpu {
namespace {

// With fewer channels than this the transforms take longer than is won; in vectors.
constexpr int kLeastVectors = 2;
// F(4x4,3x3) quadruples the weights. Where they are many and a picture has few patches to share them, reading
// them takes longer than the multiplications that F(2x2,3x3) has more.
constexpr int kFewWeights = 128 * 128;
constexpr int kManyTiles = 36;

// Null for the direct way.
const WinogradKernels* choose_winograd(const ConvGeometry& g, const Kernels& kernels) {
  if (!WinogradConv::supports(g, kernels)) return nullptr;
  if (std::min(g.src.channels, g.dst.channels) < kLeastVectors * kernels.lanes) return nullptr;
  const int tiles = divide_up(g.dst.height, 4) * divide_up(g.dst.width, 4);
  const bool large = size_t(g.src.channels) * g.dst.channels <= kFewWeights || tiles >= kManyTiles;
  return &kernels.winograd[large];
}

}  // namespace

std::unique_ptr<Convolution> make_convolution(const ConvGeometry& geometry, const Kernels& kernels,
                                              const float* weight, const float* bias, bool exact,
                                              PageArena& arena) {
  const WinogradKernels* const transforms = exact ? nullptr : choose_winograd(geometry, kernels);
  if (transforms) return std::make_unique<WinogradConv>(geometry, kernels, *transforms, weight, bias, arena);
  return std::make_unique<DirectConv>(geometry, kernels, weight, bias, arena);
}

}  // namespace residual::cpu
