#include "cpu/winograd_conv.h"

#include <algorithm>
#include <cstring>

#include "cpu/prefetch.h"
#include "cpu/ranges.h"
#include "cpu/transposed_weights.h"

namespace residual::cpu {
namespace {

constexpr int kTransformTiles = 6;   // patches of one task of the input transform
constexpr int kPackedChannels = 32;  // input channels whose weights are packed together
constexpr int kBlocksPerThread = 2;  // with fewer, threads share the groups as well
constexpr int kBlockTiles = 24;      // patches of one task: their transforms stay in the second-level cache
// Output channels whose products are computed together. Wider groups read the transformed inputs less often;
// narrower ones make more tasks. Measured for ResNet-50 on a Zen 3.
constexpr int kGroupChannels2 = 32, kGroupChannels4 = 64;

// The widest panels that fill the output channels evenly, in vectors.
int panel_vectors(const ConvGeometry& geometry, const Kernels& kernels) {
  int vectors = kernels.tile_vectors;
  while (geometry.dst.channels / kernels.lanes % vectors != 0) vectors--;
  return vectors;
}

// Rows of patches or products a multiple of 4 KiB apart would compete for the same few sets of the caches.
size_t unaliased(size_t floats) { return floats % 1024 < kLineFloats ? floats + kLineFloats : floats; }

}  // namespace

bool WinogradConv::supports(const ConvGeometry& g, const Kernels& kernels,
                            const WinogradKernels& transforms) {
  const int lanes = kernels.lanes;
  return g.kernel == 3 && g.stride == transforms.stride && g.padding == 1 && g.groups == 1 &&
         g.src.channels % lanes == 0 && g.dst.channels % lanes == 0;
}

WinogradConv::WinogradConv(const ConvGeometry& geometry, const Kernels& kernels,
                           const WinogradKernels& transforms, core::StoredWeights& weights, const float* bias,
                           PageArena& arena)
    : geometry_(geometry),
      kernels_(kernels),
      transforms_(transforms),
      rows_(divide_up(geometry.dst.height, transforms.out)),
      row_tiles_(divide_up(geometry.dst.width, transforms.out)),
      panel_vectors_(panel_vectors(geometry, kernels)),
      groups_(divide_up(geometry.dst.channels,
                        std::max(transforms.out == 2 ? kGroupChannels2 : kGroupChannels4, panel()))),
      weight_(weight_offset(geometry.dst.channels), arena),
      bias_(geometry.dst.channels, arena),
      zeros_(std::max(geometry.src.channels, geometry.dst.channels)) {
  std::memset(zeros_.data(), 0, zeros_.bytes());
  std::memcpy(bias_.data(), bias, bias_.bytes());
  transform_weights(weights);
}

// Output channels of a group: whole panels.
Range WinogradConv::columns(int group) const {
  const int panels = geometry_.dst.channels / panel();
  return {part_begin(panels, groups_, group) * panel(), part_begin(panels, groups_, group + 1) * panel()};
}

// A few input channels at a time: the part they fill stays in cache until it is complete.
void WinogradConv::transform_weights(core::StoredWeights& weights) {
  const int inputs = geometry_.src.channels;
  TransposedWeights transposed(weights, kernels_);
  const int together = transposed.inputs_at_once(kPackedChannels);
  for (int begin = 0; begin < inputs; begin += together)
    for (int group = 0; group < groups_; group++) {
      const Range mine = columns(group);
      for (int k = mine.begin; k < mine.end; k += panel())
        for (int c = begin; c < std::min(begin + together, inputs); c += kPackedChannels) {
          WinogradWeight job = {};
          job.dst =
              weight_.data() + weight_offset(mine.begin) + (size_t(k - mine.begin) * inputs + c * panel());
          job.stride = size_t(inputs) * mine.size();
          job.channels = std::min(kPackedChannels, inputs - c);
          job.columns = panel();
          job.kernel = transposed.take(k, panel(), c, job.channels);
          transforms_.weight(job);
        }
    }
}

size_t WinogradConv::weight_offset(int column) const {
  return size_t(transforms_.weights) * transforms_.weights * geometry_.src.channels * column;
}

size_t WinogradConv::product_stride(int tiles, Range columns) const {
  return unaliased(size_t(tiles) * columns.size());
}

WorkspaceSize WinogradConv::workspace_size(int batch, int threads) const {
  const int all = tiles(batch), block = std::min(all, kBlockTiles);
  const int together = std::min(all, threads * kBlocksPerThread * kBlockTiles);
  // Enough for smaller batches too, whose rows may be padded where these are not.
  const auto bytes = [&](int tiles, int channels) {
    return transforms_.points() * (size_t(tiles) * channels + kLineFloats) * sizeof(float);
  };
  return {/*shared=*/bytes(together, geometry_.src.channels),
          /*per_worker=*/bytes(block, geometry_.src.channels) + bytes(block, columns(groups_ - 1).size())};
}

void WinogradConv::run(void* dst, const void* from, const void* residual, int batch, ThreadPool& pool,
                       Workspace& workspace) const {
  const float* const src = static_cast<const float*>(from);
  const Buffers buffers = {static_cast<float*>(dst), src, static_cast<const float*>(residual)};
  const int all = tiles(batch);
  const Blocks blocks(all, kBlockTiles, pool.threads());

  // With enough blocks for every thread, each is transformed by the thread that uses it.
  if (blocks.count() >= pool.threads() * kBlocksPerThread) {
    pool.run(blocks.count(), [&](int task, int worker) {
      const Range range = blocks[task];
      float* const scratch = static_cast<float*>(workspace.of(worker));
      const Transformed inputs = transformed(scratch, range);
      transform_inputs(inputs, src, range);
      float* const products = scratch + transforms_.points() * inputs.point_stride;
      for (int group = 0; group < groups_; group++) run_group(buffers, inputs, range, group, products);
    });
    return;
  }

  const Transformed inputs = transformed(workspace.shared(), {0, all});
  const Blocks transforms(all, kTransformTiles, pool.threads());
  pool.run(transforms.count(), [&](int task, int) { transform_inputs(inputs, src, transforms[task]); });
  pool.run(blocks.count() * groups_, [&](int task, int worker) {
    run_group(buffers, inputs, blocks[task % blocks.count()], task / blocks.count(),
              static_cast<float*>(workspace.of(worker)));
  });
}

WinogradConv::Tile WinogradConv::tile(int index) const {
  const int within = index % (rows_ * row_tiles_);
  return {index / (rows_ * row_tiles_), within / row_tiles_ * transforms_.out,
          within % row_tiles_ * transforms_.out};
}

WinogradConv::Transformed WinogradConv::transformed(float* data, Range tiles) const {
  return {data, tiles, unaliased(size_t(tiles.size()) * geometry_.src.channels)};
}

void WinogradConv::transform_inputs(const Transformed& to, const float* src, Range tiles) const {
  const core::Shape& shape = geometry_.src;
  const int in = transforms_.in;
  for (int t = tiles.begin; t < tiles.end; t++) {
    const Tile at = tile(t);
    const int top = at.y * geometry_.stride - geometry_.padding;
    const int left = at.x * geometry_.stride - geometry_.padding;
    const float* sources[kMaxWinogradPoints];
    for (int i = 0; i < in; i++)
      for (int j = 0; j < in; j++) {
        const int y = top + i, x = left + j;
        const bool inside = y >= 0 && y < shape.height && x >= 0 && x < shape.width;
        const size_t pixel = (size_t(at.image) * shape.height + y) * shape.width + x;
        sources[i * in + j] = inside ? src + pixel * shape.channels : zeros_.data();
      }
    transforms_.input(to.at(t, shape.channels), to.point_stride, sources, shape.channels);
  }
}

void WinogradConv::run_group(const Buffers& buffers, const Transformed& inputs, Range tiles, int group,
                             float* products) const {
  multiply(inputs, tiles, columns(group), products);
  write_outputs(buffers, tiles, columns(group), products);
}

// products[point][tile][column] = inputs[point][tile][:] x weight[weight of the point][:][column] Meanwhile
// the next point's weights are prefetched.
void WinogradConv::multiply(const Transformed& inputs, Range tiles, Range columns, float* products) const {
  const int channels = geometry_.src.channels, width = columns.size();
  const int steps = divide_up(tiles.size(), kMaxTileRows);
  const size_t stride = product_stride(tiles.size(), columns), size = size_t(channels) * width;
  const float* const weights = weight_.data() + weight_offset(columns.begin);
  const float* sources[kMaxTileRows];
  ConvTile step = {};
  step.sources = sources;
  step.source_stride = kMaxTileRows;
  step.taps = 1;
  step.length = channels;
  step.bias = zeros_.data();
  step.dst_stride = width;
  step.columns = width;
  const Prefetch fetch(size, step, width / panel(), steps);
  for (int point = 0; point < transforms_.points(); point++) {
    step.weight = weights + transforms_.weight_of(point) * size;
    const float* next = nullptr;  // the next point's weights, unless they are the same
    if (point + 1 < transforms_.points()) next = weights + transforms_.weight_of(point + 1) * size;
    if (next == step.weight) next = nullptr;
    for (int s = 0; s < steps; s++) {
      const int row = part_begin(tiles.size(), steps, s), rows = part_begin(tiles.size(), steps, s + 1) - row;
      for (int r = 0; r < rows; r++)
        sources[r] = inputs.at(tiles.begin + row + r, channels) + point * inputs.point_stride;
      step.dst = products + point * stride + size_t(row) * width;
      fetch.set(step, next, s);
      kernels_.conv_tile[rows - 1][panel_vectors_ - 1](step);
    }
  }
}

void WinogradConv::write_outputs(const Buffers& buffers, Range tiles, Range columns,
                                 const float* products) const {
  const core::Shape& shape = geometry_.dst;
  for (int t = tiles.begin; t < tiles.end; t++) {
    const Tile at = tile(t);
    const size_t pixel = (size_t(at.image) * shape.height + at.y) * shape.width + at.x;
    WinogradOutput output = {};
    output.products = products + size_t(t - tiles.begin) * columns.size();
    output.stride = product_stride(tiles.size(), columns);
    output.bias = bias_.data() + columns.begin;
    output.dst = buffers.dst + pixel * shape.channels + columns.begin;
    output.residual = buffers.residual ? buffers.residual + pixel * shape.channels + columns.begin : nullptr;
    output.row_stride = size_t(shape.width) * shape.channels;
    output.pixel_stride = shape.channels;
    output.rows = std::min(transforms_.out, shape.height - at.y);
    output.columns = std::min(transforms_.out, shape.width - at.x);
    output.channels = columns.size();
    output.relu = geometry_.relu;
    transforms_.output(output);
  }
}

}  // namespace residual::cpu
