#include "cpu/direct_conv.h"

#include <algorithm>
#include <cstring>

#include "cpu/parts.h"

namespace residual::cpu {
namespace {

// Output pixels of one task: their inputs stay in the second-level cache while all the panels pass over them.
constexpr int kBlockPixels = 192;
// Floats of one panel that all tiles use before the next ones' turn: 256 KiB, so that they stay in a
// second-level cache. Blocks that fit the first level (24 KiB, 64 KiB) were measured slower: sums go through
// memory more often.
constexpr int kBlockWeights = 64 * 1024;
constexpr int kTasksPerThread = 4;
constexpr int kGatherBelow = 16;  // input channels

// Groups to merge: the most that divide the group count and still fit one vector.
int merge_factor(const ConvGeometry& g, int lanes) {
  for (int merge = std::min(g.groups, lanes / std::max(g.group_outputs(), g.group_inputs())); merge > 1;
       merge--)
    if (g.groups % merge == 0) return merge;
  return 1;
}

}  // namespace

DirectConv::DirectConv(const ConvGeometry& geometry, const Kernels& kernels, const float* weight,
                       const float* bias)
    : geometry_(geometry),
      kernels_(kernels),
      depthwise_(geometry.groups > 1 && geometry.group_inputs() == 1 && geometry.group_outputs() == 1),
      gather_(geometry.groups == 1 && geometry.src.channels < kGatherBelow && geometry.taps() > 1),
      zeros_(geometry.src.channels) {
  std::memset(zeros_.data(), 0, zeros_.bytes());
  if (!depthwise_) merge_ = merge_factor(geometry, kernels.lanes);
  taps_ = gather_ ? 1 : geometry.taps();
  length_ = geometry.group_inputs() * merge_ * (gather_ ? geometry.taps() : 1);
  depthwise_ ? pack_depthwise(weight, bias) : pack(weight, bias);
}

void DirectConv::pack_depthwise(const float* weight, const float* bias) {
  const int taps = geometry_.taps(), channels = geometry_.dst.channels;
  weight_ = AlignedBuffer(size_t(taps) * channels);
  bias_ = AlignedBuffer(channels);
  std::memcpy(bias_.data(), bias, bias_.bytes());
  for (int c = 0; c < channels; c++)
    for (int tap = 0; tap < taps; tap++)
      weight_.data()[size_t(tap) * channels + c] = weight[size_t(c) * taps + tap];
}

void DirectConv::pack(const float* weight, const float* bias) {
  const int taps = geometry_.taps(), inputs = geometry_.group_inputs(), outputs = geometry_.group_outputs();
  const int lanes = kernels_.lanes;
  const int columns = outputs * merge_;  // of a merged group
  const int vectors = divide_up(columns, lanes);
  const int parts = divide_up(vectors, kernels_.tile_vectors);
  const size_t depth = size_t(taps_) * length_;
  size_t weights = 0, biases = 0;
  for (int group = 0; group < geometry_.groups / merge_; group++)
    for (int p = 0; p < parts; p++) {
      const int first = part(vectors, parts, p), last = part(vectors, parts, p + 1);
      const int count = std::min(last * lanes, columns) - first * lanes;
      panels_.push_back({group, group * columns + first * lanes, count, last - first, weights, biases});
      weights += depth * (last - first) * lanes;
      biases += size_t(last - first) * lanes;
    }

  weight_ = AlignedBuffer(weights);
  bias_ = AlignedBuffer(biases);
  std::memset(weight_.data(), 0, weight_.bytes());
  std::memset(bias_.data(), 0, bias_.bytes());
  for (const Panel& panel : panels_) {
    const int width = panel.vectors * lanes;
    std::memcpy(bias_.data() + panel.bias, bias + panel.channel, panel.columns * sizeof(float));
    for (int column = 0; column < panel.columns; column++) {
      const int k = panel.channel + column;
      const int offset = k / outputs % merge_ * inputs;  // of this group's inputs among the merged ones
      const float* from = weight + size_t(k) * taps * inputs;
      float* to = weight_.data() + panel.weight + column;
      for (int tap = 0; tap < taps; tap++)
        for (int c = 0; c < inputs; c++)
          to[(size_t(tap) * inputs * merge_ + offset + c) * width] = from[size_t(tap) * inputs + c];
    }
  }
}

const float* DirectConv::source(const float* src, int pixel, int row, int column) const {
  const ConvGeometry& g = geometry_;
  const int n = pixel / (g.dst.height * g.dst.width), within = pixel % (g.dst.height * g.dst.width);
  const int y = within / g.dst.width * g.stride - g.padding + row;
  const int x = within % g.dst.width * g.stride - g.padding + column;
  if (y < 0 || y >= g.src.height || x < 0 || x >= g.src.width) return zeros_.data();
  return src + ((size_t(n) * g.src.height + y) * g.src.width + x) * g.src.channels;
}

WorkspaceSize DirectConv::workspace_size(int) const {
  const size_t gathered = gather_ ? size_t(length_) * sizeof(float) : 0;
  return {/*shared=*/0, /*per_worker=*/kBlockPixels * (taps_ * sizeof(const float*) + gathered)};
}

void DirectConv::run(float* dst, const float* src, const float* residual, int batch, ThreadPool& pool,
                     Workspace& workspace) const {
  const Buffers buffers = {dst, src, residual};
  const int pixels = batch * geometry_.dst.height * geometry_.dst.width;
  const int blocks = divide_up(pixels, kBlockPixels);
  const int panels = static_cast<int>(panels_.size());
  const int wanted = pool.threads() == 1 ? 1 : pool.threads() * kTasksPerThread;
  const int splits = depthwise_ ? 1 : std::min(panels, divide_up(wanted, blocks));
  pool.run(blocks * splits, [&](int task, int worker) {
    const int block = task / splits, split = task % splits;
    const Range range = {part(pixels, blocks, block), part(pixels, blocks, block + 1)};
    if (depthwise_)
      run_depthwise(buffers, range, workspace.of(worker));
    else
      run_block(buffers, range, {part(panels, splits, split), part(panels, splits, split + 1)},
                workspace.of(worker));
  });
}

// Where each pixel's inputs begin, [taps][pixels]; with gather_ they are first copied together.
const float** DirectConv::find_sources(const float* src, Range pixels, void* scratch) const {
  const int rows = pixels.end - pixels.begin;
  const float** sources = static_cast<const float**>(scratch);
  if (gather_) {
    float* gathered = reinterpret_cast<float*>(sources + rows);
    for (int row = 0; row < rows; row++) {
      sources[row] = gathered + size_t(row) * length_;
      gather(gathered + size_t(row) * length_, src, pixels.begin + row);
    }
    return sources;
  }
  for (int r = 0; r < geometry_.kernel; r++)
    for (int s = 0; s < geometry_.kernel; s++)
      for (int row = 0; row < rows; row++)
        sources[size_t(r * geometry_.kernel + s) * rows + row] = source(src, pixels.begin + row, r, s);
  return sources;
}

// Copies the window of one output pixel, [kernel][kernel][C]; a row of it is one run of memory but for the
// padding.
void DirectConv::gather(float* dst, const float* src, int pixel) const {
  const ConvGeometry& g = geometry_;
  const int within = pixel % (g.dst.height * g.dst.width);
  const int left = within % g.dst.width * g.stride - g.padding;
  const int begin = std::min(std::max(-left, 0), g.kernel),
            end = std::max(std::min(g.src.width - left, g.kernel), begin);
  const size_t row = size_t(g.kernel) * g.src.channels;
  for (int r = 0; r < g.kernel; r++, dst += row) {
    const float* from = begin < end ? source(src, pixel, r, begin) : zeros_.data();
    if (from == zeros_.data()) {
      std::fill(dst, dst + row, 0.0f);
      continue;
    }
    float* const first = dst + size_t(begin) * g.src.channels;
    float* const last = dst + size_t(end) * g.src.channels;
    std::fill(dst, first, 0.0f);
    std::copy(from, from + (last - first), first);
    std::fill(last, dst + row, 0.0f);
  }
}

void DirectConv::run_block(const Buffers& buffers, Range pixels, Range panels, void* scratch) const {
  const float* const* sources = find_sources(buffers.src, pixels, scratch);
  for (int p = panels.begin; p < panels.end; p++) run_panel(buffers, pixels, panels_[p], sources);
}

// The panel's weights are taken in blocks that stay in cache while the tiles pass over them; sums wait in dst
// between two blocks.
void DirectConv::run_panel(const Buffers& buffers, Range pixels, const Panel& panel,
                           const float* const* sources) const {
  const int width = panel.vectors * kernels_.lanes;
  const int rows = pixels.end - pixels.begin;
  const int tiles = divide_up(rows, kMaxTileRows);
  const int channels = geometry_.dst.channels;
  const int block_depth = std::max(kBlockWeights / width, 1);
  const int block_taps = std::max(std::min(block_depth / length_, taps_), 1);
  const int block_lengths = divide_up(length_, block_depth);  // blocks of one tap, 1 where taps are whole

  for (int tap = 0; tap < taps_; tap += block_taps)
    for (int l = 0; l < block_lengths; l++) {
      const int begin = part(length_, block_lengths, l), end = part(length_, block_lengths, l + 1);
      const int taps = std::min(block_taps, taps_ - tap);
      const bool first = tap == 0 && l == 0, last = tap + taps == taps_ && l == block_lengths - 1;
      ConvTile tile = {};
      tile.source_stride = rows;
      tile.source_offset = size_t(panel.group) * geometry_.group_inputs() * merge_ + begin;
      tile.taps = taps;
      tile.length = end - begin;
      tile.weight = weight_.data() + panel.weight + (size_t(tap) * length_ + begin) * width;
      tile.bias = first ? bias_.data() + panel.bias : nullptr;
      tile.dst_stride = channels;
      tile.columns = panel.columns;
      tile.relu = last && geometry_.relu;
      for (int t = 0; t < tiles; t++) {
        const int row = part(rows, tiles, t), count = part(rows, tiles, t + 1) - row;
        const size_t at = size_t(pixels.begin + row) * channels + panel.channel;
        tile.sources = sources + size_t(tap) * rows + row;
        tile.dst = buffers.dst + at;
        tile.residual = last && buffers.residual ? buffers.residual + at : nullptr;
        kernels_.conv_tile[count - 1][panel.vectors - 1](tile);
      }
    }
}

void DirectConv::run_depthwise(const Buffers& buffers, Range pixels, void* scratch) const {
  const int channels = geometry_.dst.channels;
  const float** taps = static_cast<const float**>(scratch);
  for (int pixel = pixels.begin; pixel < pixels.end; pixel++) {
    for (int r = 0; r < geometry_.kernel; r++)
      for (int s = 0; s < geometry_.kernel; s++)
        taps[r * geometry_.kernel + s] = source(buffers.src, pixel, r, s);
    const size_t at = size_t(pixel) * channels;
    kernels_.depthwise(buffers.dst + at, taps, weight_.data(), bias_.data(),
                       buffers.residual ? buffers.residual + at : nullptr, taps_, channels, geometry_.relu);
  }
}

}  // namespace residual::cpu
