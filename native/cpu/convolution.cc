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
// Patches that reach far over the edges of small pictures save less than the transforms take.
constexpr double kLeastSaved = 1.5;

// Multiplications of a picture, per input and output channel.
int products(const ConvGeometry& g, const WinogradKernels& transforms) {
  return divide_up(g.dst.height, transforms.out) * divide_up(g.dst.width, transforms.out) * transforms.points;
}

// Null for the direct way.
const WinogradKernels* choose_winograd(const ConvGeometry& g, const Kernels& kernels) {
  if (!WinogradConv::supports(g, kernels)) return nullptr;
  if (std::min(g.src.channels, g.dst.channels) < kLeastVectors * kernels.lanes) return nullptr;
  const WinogradKernels *small = &kernels.winograd[0], *large = &kernels.winograd[1];
  const bool affordable = size_t(g.src.channels) * g.dst.channels <= kFewWeights ||
                          products(g, *large) >= kManyTiles * large->points;
  const WinogradKernels* best = affordable && products(g, *large) < products(g, *small) ? large : small;
  return kLeastSaved * products(g, *best) < g.taps() * g.dst.height * g.dst.width ? best : nullptr;
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
