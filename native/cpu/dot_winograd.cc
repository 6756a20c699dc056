#include "cpu/dot_winograd.h"

#include <algorithm>
#include <cstring>

namespace residual::cpu {
namespace {

constexpr int kBlockPatches = 48;     // of a task: their transforms stay in the second-level cache
constexpr int kTransformPatches = 6;  // of a task that only transforms inputs
constexpr int kBlocksPerThread = 2;   // with fewer, threads share the panels as well
constexpr int64_t kMostSum = int64_t(1) << 25;
constexpr int kKernel = 3;

constexpr size_t aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

// One line more where rows of points would compete for the same few sets of a cache.
size_t point_stride(int patches, int channels) {
  constexpr size_t kLine = 64 / sizeof(int16_t);
  const size_t numbers = size_t(patches) * channels;
  return numbers / kLine % 2 == 0 ? numbers + kLine : numbers;
}

// One direction of the weights' transform: 24 times that of Lavin and Gray, but for the last, 12 times.
void weight_line(int* to, int to_step, const int* from, int from_step) {
  const int g0 = from[0], g1 = from[from_step], g2 = from[2 * from_step];
  to[0] = 6 * g0;
  to[to_step] = -4 * (g0 + g1 + g2);
  to[2 * to_step] = -4 * (g0 - g1 + g2);
  to[3 * to_step] = g0 + 2 * g1 + 4 * g2;
  to[4 * to_step] = g0 - 2 * g1 + 4 * g2;
  to[5 * to_step] = 12 * g2;
}

}  // namespace

bool DotWinogradConv::supports(const ConvGeometry& g) {
  return g.kernel == kKernel && g.stride == 1 && g.padding == 1 && g.groups == 1 &&
         g.src.channels % kWinogradUnit == 0;
}

bool DotWinogradConv::fits(const ConvGeometry& g, const DotNumbers& numbers, const Int8Weights& weights) {
  const bool is_signed = numbers.src.precision == core::Precision::kInt8;
  for (int k = 0; k < g.dst.channels; k++) {
    int64_t positive = 0, negative = 0;
    for (int i = 0; i < g.src.channels * g.taps(); i++) {
      const int weight = weights.integers(k)[i];
      (weight > 0 ? positive : negative) += std::abs(weight);
    }
    const int64_t most = is_signed ? 128 * (positive + negative) : 255 * std::max(positive, negative);
    if (most >= kMostSum) return false;
  }
  return true;
}

int DotWinogradConv::patches(const ConvGeometry& g, int batch) {
  return batch * divide_up(g.dst.height, kPatch) * divide_up(g.dst.width, kPatch);
}

DotWinogradConv::DotWinogradConv(const ConvGeometry& geometry, const DotNumbers& numbers,
                                 const DotWinogradKernels& kernels, const Int8Weights& weights,
                                 PageArena& arena)
    : geometry_(geometry),
      numbers_(numbers),
      kernels_(kernels),
      rows_(divide_up(geometry.dst.height, kPatch)),
      row_patches_(divide_up(geometry.dst.width, kPatch)),
      weight_(panels() * panel_bytes() / sizeof(float), arena),
      start_(size_t(panels()) * kPanelColumns, arena),
      scale_(size_t(panels()) * kPanelColumns, arena),
      padding_(divide_up(geometry.src.channels, sizeof(float))) {
  for (AlignedBuffer* buffer : {&weight_, &start_, &scale_, &padding_})
    std::memset(buffer->data(), 0, buffer->bytes());
  const std::vector<uint8_t> pixel = padding_pixel(numbers);
  std::copy(pixel.begin(), pixel.end(), reinterpret_cast<uint8_t*>(padding_.data()));
  transform_weights(weights);
  for (int k = 0; k < geometry.dst.channels; k++) {
    reinterpret_cast<int32_t*>(start_.data())[k] = weights.start(k);
    scale_.data()[k] = weights.scale(k);
  }
}

void DotWinogradConv::transform_weights(const Int8Weights& weights) {
  const int inputs = geometry_.src.channels;
  for (int k = 0; k < geometry_.dst.channels; k++) {
    int16_t* const panel = reinterpret_cast<int16_t*>(reinterpret_cast<std::byte*>(weight_.data()) +
                                                      k / kPanelColumns * panel_bytes());
    for (int c = 0; c < inputs; c++) {
      int kernel[kKernel * kKernel], half[kInputPatch * kKernel], points[kPoints];
      std::copy_n(weights.integers(k) + c * kKernel * kKernel, kKernel * kKernel, kernel);
      for (int column = 0; column < kKernel; column++)
        weight_line(half + column, kKernel, kernel + column, kKernel);
      for (int row = 0; row < kInputPatch; row++)
        weight_line(points + row * kInputPatch, 1, half + row * kKernel, 1);
      int16_t* const to = panel + (size_t(c / 2) * kPanelColumns + k % kPanelColumns) * 2 + c % 2;
      for (int point = 0; point < kPoints; point++)
        to[size_t(point) * inputs * kPanelColumns] = static_cast<int16_t>(points[point]);
    }
  }
}

WorkspaceSize DotWinogradConv::workspace_size(int batch, int threads) const {
  const int all = patches(geometry_, batch), channels = geometry_.src.channels;
  const auto inputs = [&](int patches) {
    return kPoints * aligned((size_t(patches) * channels + kAlignment) * sizeof(int16_t));
  };
  const size_t scratch = aligned(kBlockPatches * sizeof(DotBlock)) +
                         aligned(kBlockPatches * kPatch * sizeof(DotRun)) +
                         kPoints * winograd_product_stride(kBlockPatches) * sizeof(int32_t);
  return {/*shared=*/inputs(std::min(all, threads * kBlocksPerThread * kBlockPatches)),
          /*per_worker=*/scratch + inputs(std::min(all, kBlockPatches))};
}

DotWinogradConv::Scratch DotWinogradConv::parts_of(void* scratch) const {
  std::byte* const blocks = static_cast<std::byte*>(scratch);
  std::byte* const runs = blocks + aligned(kBlockPatches * sizeof(DotBlock));
  std::byte* const products = runs + aligned(kBlockPatches * kPatch * sizeof(DotRun));
  std::byte* const inputs = products + kPoints * winograd_product_stride(kBlockPatches) * sizeof(int32_t);
  return {reinterpret_cast<DotBlock*>(blocks), reinterpret_cast<DotRun*>(runs),
          reinterpret_cast<int32_t*>(products), reinterpret_cast<int16_t*>(inputs)};
}

void DotWinogradConv::run(void* dst, const void* from, const void* residual, int batch, ThreadPool& pool,
                          Workspace& workspace) const {
  const auto* const src = static_cast<const std::byte*>(from);
  const DotOutput output = dot_output(geometry_, numbers_, dst, residual);
  const int all = patches(geometry_, batch), threads = pool.threads();
  const Blocks blocks(all, kBlockPatches, threads);

  // With enough blocks for every thread, each is transformed by the thread that uses it.
  if (threads == 1 || blocks.count() >= threads * kBlocksPerThread) {
    pool.run(blocks.count(), [&](int task, int worker) {
      const Scratch scratch = parts_of(workspace.of(worker));
      const Transformed inputs = transformed(scratch.inputs, blocks[task]);
      transform_inputs(inputs, src, blocks[task]);
      run_panels(output, inputs, blocks[task], {0, panels()}, scratch);
    });
    return;
  }

  const Transformed inputs = transformed(reinterpret_cast<int16_t*>(workspace.shared()), {0, all});
  const Blocks transforms(all, kTransformPatches, threads);
  pool.run(transforms.count(), [&](int task, int) { transform_inputs(inputs, src, transforms[task]); });
  const int pairs = divide_up(panels(), 2);
  const int splits = std::min(divide_up(threads * kBlocksPerThread, blocks.count()), pairs);
  pool.run(blocks.count() * splits, [&](int task, int worker) {
    const int split = task / blocks.count();
    const Range panels = {part_begin(pairs, splits, split) * 2,
                          std::min(part_begin(pairs, splits, split + 1) * 2, this->panels())};
    run_panels(output, inputs, blocks[task % blocks.count()], panels, parts_of(workspace.of(worker)));
  });
}

DotWinogradConv::Patch DotWinogradConv::patch(int index) const {
  const int within = index % (rows_ * row_patches_);
  return {index / (rows_ * row_patches_), within / row_patches_ * kPatch, within % row_patches_ * kPatch};
}

DotWinogradConv::Transformed DotWinogradConv::transformed(int16_t* data, Range patches) const {
  return {data, patches, point_stride(patches.size(), geometry_.src.channels)};
}

void DotWinogradConv::transform_inputs(const Transformed& to, const std::byte* src, Range patches) const {
  const core::Shape& shape = geometry_.src;
  const bool is_signed = numbers_.src.precision == core::Precision::kInt8;
  const auto* const padding = reinterpret_cast<const std::byte*>(padding_.data());
  for (int p = patches.begin; p < patches.end; p++) {
    const Patch at = patch(p);
    const std::byte* sources[kPoints];
    for (int i = 0; i < kInputPatch; i++)
      for (int j = 0; j < kInputPatch; j++) {
        const int y = at.y - geometry_.padding + i, x = at.x - geometry_.padding + j;
        const bool inside = y >= 0 && y < shape.height && x >= 0 && x < shape.width;
        const size_t pixel = (size_t(at.image) * shape.height + y) * shape.width + x;
        sources[i * kInputPatch + j] = inside ? src + pixel * shape.channels : padding;
      }
    kernels_.input(to.at(p, shape.channels), to.point_stride, sources, shape.channels, is_signed);
  }
}

void DotWinogradConv::run_panels(const DotOutput& output, const Transformed& inputs, Range patches,
                                 Range panels, const Scratch& scratch) const {
  const core::Shape& shape = geometry_.dst;
  int runs = 0;
  for (int p = patches.begin; p < patches.end; p++) {
    const Patch at = patch(p);
    const int rows = std::min(kPatch, shape.height - at.y);
    scratch.blocks[p - patches.begin] = {nullptr, kPatchPixels, runs, rows};
    for (int y = 0; y < rows; y++)
      scratch.runs[runs++] = {y * kPatch, std::min(kPatch, shape.width - at.x),
                              (size_t(at.image) * shape.height + at.y + y) * shape.width + at.x};
  }
  DotWinogradTask task = {};
  task.dot.blocks = scratch.blocks;
  task.dot.block_count = patches.size();
  task.dot.runs = scratch.runs;
  task.dot.tap_count = kPoints;
  task.dot.depth = geometry_.src.channels * static_cast<int>(sizeof(int16_t));
  task.dot.weight = reinterpret_cast<const std::byte*>(weight_.data()) + panels.begin * panel_bytes();
  task.dot.channel = panels.begin * kPanelColumns;
  task.dot.start = start_.data() + task.dot.channel;
  task.dot.scale = scale_.data() + task.dot.channel;
  task.dot.columns = std::min(panels.end * kPanelColumns, shape.channels) - task.dot.channel;
  task.dot.output = output;
  task.inputs = inputs.at(patches.begin, geometry_.src.channels);
  task.point_stride = inputs.point_stride;
  task.products = scratch.products;
  kernels_.run(task);
}

}  // namespace residual::cpu
