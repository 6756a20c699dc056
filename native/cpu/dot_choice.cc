#include "cpu/dot_choice.h"

#include <algorithm>

#include "cpu/dot_conv.h"
#include "cpu/dot_winograd.h"

namespace residual::cpu {
namespace {

// Fewer weights stay in a second-level cache, transformed: eight times as many bytes.
constexpr size_t kFewWeights = 128 * 128;
// What transforms cost, as a part of the products.
constexpr double kTransforms = 1.4;
// Of inputs and outputs, for each unit of product_cost: with fewer, transforms cost more.
constexpr int kLeastChannels = 32;

bool gains(const ConvGeometry& g, const DotWinogradKernels& kernels) {
  const int cost = kernels.product_cost, direct = g.taps() * g.dst.height * g.dst.width;
  return size_t(g.src.channels) * g.dst.channels <= kernels.most_weights &&
         std::min(g.src.channels, g.dst.channels) >= kLeastChannels * cost &&
         kTransforms * cost * kPoints * DotWinogradConv::patches(g, 1) < direct;
}

// Winograd's where a batch has patches enough, and otherwise direct: their results are the same.
class ByBatch final : public Convolution {
 public:
  ByBatch(const ConvGeometry& geometry, int least_patches, std::unique_ptr<Convolution> winograd,
          std::unique_ptr<Convolution> direct)
      : geometry_(geometry),
        least_patches_(least_patches),
        winograd_(std::move(winograd)),
        direct_(std::move(direct)) {}

  void run(void* dst, const void* src, const void* residual, int batch, ThreadPool& pool,
           Workspace& workspace) const override {
    const bool has_enough = DotWinogradConv::patches(geometry_, batch) >= least_patches_;
    (has_enough ? winograd_ : direct_)->run(dst, src, residual, batch, pool, workspace);
  }
  WorkspaceSize workspace_size(int batch, int threads) const override {
    return winograd_->workspace_size(batch, threads).max(direct_->workspace_size(batch, threads));
  }
  size_t bytes() const override { return winograd_->bytes() + direct_->bytes(); }

 private:
  ConvGeometry geometry_;
  int least_patches_;
  std::unique_ptr<Convolution> winograd_, direct_;
};

}  // namespace

std::vector<Algorithm> dot_algorithms_for(const ConvGeometry& geometry, const core::Value& src,
                                          const DotKernels& kernels, Precedence precedence) {
  std::vector<Algorithm> all = {{}};
  if (!kernels.winograd || src.precision == core::Precision::kBf16 || !DotWinogradConv::supports(geometry))
    return all;
  const bool is_best = precedence != Precedence::kMemory && gains(geometry, *kernels.winograd);
  all.insert(is_best ? all.begin() : all.end(), Algorithm{nullptr, kernels.winograd});
  return all;
}

std::unique_ptr<Convolution> make_dot_convolution(const ConvGeometry& geometry, const DotNumbers& numbers,
                                                  const DotKernels& kernels, const Algorithm& algorithm,
                                                  core::StoredWeights& weights, const float* bias,
                                                  PageArena& arena) {
  if (numbers.src.precision == core::Precision::kBf16)
    return std::make_unique<DotConv>(geometry, numbers, kernels, weights, bias, arena);
  const Int8Weights integers(geometry, numbers, weights, bias);
  const auto direct = [&] { return std::make_unique<DotConv>(geometry, numbers, kernels, integers, arena); };
  const DotWinogradKernels* const transforms = algorithm.dot_winograd;
  if (!transforms || !DotWinogradConv::fits(geometry, numbers, integers)) return direct();
  auto winograd = std::make_unique<DotWinogradConv>(geometry, numbers, *transforms, integers, arena);
  const bool suits_all = size_t(geometry.src.channels) * geometry.dst.channels <= kFewWeights ||
                         DotWinogradConv::patches(geometry, 1) >= transforms->least_patches;
  if (suits_all) return winograd;
  return std::make_unique<ByBatch>(geometry, transforms->least_patches, std::move(winograd), direct());
}

}  // namespace residual::cpu
