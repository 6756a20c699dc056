#include "cpu/convolution.h"

#include <algorithm>

#include "cpu/direct_conv.h"
#include "cpu/ranges.h"
#include "cpu/winograd_conv.h"

namespace residual::cpu {
namespace {

// Below this many channels the transforms cost more than they save; in vectors.
constexpr int kLeastVectors = 2;
// Patches of 4x4 take up to four times as many weights. With many weights and few patches per image to share
// them, reading them takes longer than the extra multiplications of 2x2 patches.
constexpr int kFewWeights = 128 * 128;
constexpr int kManyTiles = 16;
// Below this many patches per image that holds for any number of weights, and for patches of 2x2.
constexpr int kFewestTiles = 4;
// Patches that reach far beyond the edges of small images save less than the transforms cost.
constexpr double kLeastSaved = 1.3;

int tiles(const ConvGeometry& g, const WinogradKernels& transforms) {
  return divide_up(g.dst.height, transforms.out) * divide_up(g.dst.width, transforms.out);
}

// Multiplications per image, input channel and output channel.
int products(const ConvGeometry& g, const WinogradKernels& transforms) {
  return tiles(g, transforms) * transforms.points();
}

// Null for direct convolution.
const WinogradKernels* choose_winograd(const ConvGeometry& g, const Kernels& kernels) {
  if (std::min(g.src.channels, g.dst.channels) < kLeastVectors * kernels.lanes) return nullptr;
  const bool few_weights = size_t(g.src.channels) * g.dst.channels <= kFewWeights;
  const WinogradKernels* best = nullptr;
  for (const WinogradKernels& transforms : kernels.winograd) {
    if (!WinogradConv::supports(g, kernels, transforms)) continue;
    const int least = transforms.out == 2 || few_weights ? kFewestTiles : kManyTiles;
    if (tiles(g, transforms) < least) continue;
    if (!best || products(g, transforms) < products(g, *best)) best = &transforms;
  }
  const int direct = g.taps() * g.dst.height * g.dst.width;
  return best && kLeastSaved * products(g, *best) < direct ? best : nullptr;
}

}  // namespace

std::string Algorithm::name() const {
  if (dot_winograd) return "winograd4";
  return winograd ? "winograd" + std::to_string(winograd->out) : "direct";
}

std::vector<Algorithm> algorithms_for(const ConvGeometry& geometry, const Kernels& kernels,
                                      Precedence precedence) {
  std::vector<Algorithm> all = {{}};
  if (precedence == Precedence::kExactness) return all;
  for (const WinogradKernels& transforms : kernels.winograd)
    if (WinogradConv::supports(geometry, kernels, transforms)) all.push_back({&transforms, nullptr});
  if (precedence == Precedence::kMemory) return all;
  const WinogradKernels* const chosen = choose_winograd(geometry, kernels);
  std::stable_partition(all.begin(), all.end(),
                        [&](const Algorithm& algorithm) { return algorithm.winograd == chosen; });
  return all;
}

std::unique_ptr<Convolution> make_convolution(const ConvGeometry& geometry, const Kernels& kernels,
                                              const Algorithm& algorithm, core::StoredWeights& weights,
                                              const float* bias, PageArena& arena) {
  if (algorithm.winograd)
    return std::make_unique<WinogradConv>(geometry, kernels, *algorithm.winograd, weights, bias, arena);
  return std::make_unique<DirectConv>(geometry, kernels, weights, bias, arena);
}

}  // namespace residual::cpu
