#include "cpu/direct_conv.h"

#include <algorithm>
#include <cstring>

#include "cpu/prefetch.h"
#include "cpu/ranges.h"

namespace residual::cpu {
namespace {

constexpr int kBlockPixels = 192;  // output pixels of one task
constexpr int kTasksPerThread = 4;
constexpr int kByRowsBelow = 16;  // input channels

// Floats in the panels of one pass, 128 KiB: they stay in a second-level cache of 512 KiB together with those
// prefetched for the next pass.
constexpr int kPassWeights = 32 * 1024;

// Groups to compute together: as many as fill one vector of inputs and at most one of outputs.
int merge_factor(const ConvGeometry& g, const Kernels& kernels) {
  const int merge = kernels.lanes / g.group_inputs();
  const bool fits = merge * g.group_inputs() == kernels.lanes && merge * g.group_outputs() <= kernels.lanes;
  return kernels.grouped_tile[0] && merge > 0 && fits && g.groups % merge == 0 ? merge : 1;
}

}  // namespace

DirectConv::DirectConv(const ConvGeometry& geometry, const Kernels& kernels, core::StoredWeights& weights,
                       const float* bias, PageArena& arena)
    : geometry_(geometry),
      kernels_(kernels),
      depthwise_(geometry.groups > 1 && geometry.group_inputs() == 1 && geometry.group_outputs() == 1),
      by_rows_(geometry.groups == 1 && geometry.src.channels < kByRowsBelow && geometry.taps() > 1),
      zeros_(geometry.src.channels) {
  std::memset(zeros_.data(), 0, zeros_.bytes());
  if (!depthwise_) merge_ = merge_factor(geometry, kernels);
  taps_ = by_rows_ ? geometry.kernel : geometry.taps();
  length_ = geometry.group_inputs() * (by_rows_ ? geometry.kernel : 1);
  if (depthwise_) {
    pack_depthwise(weights, bias, arena);
  } else {
    if (merge_ > 1) plan_merged();
    plan_depth();
    plan_strips(arena);
    pack(weights, bias);
  }
}

WorkspaceSize DirectConv::workspace_size(int batch, int /*threads*/) const {
  const core::Shape& src = geometry_.src;
  const size_t padded = size_t(batch) * (src.height + 2 * geometry_.padding) *
                        (src.width + 2 * geometry_.padding) * src.channels;
  return {/*shared=*/by_rows_ ? padded * sizeof(float) : 0,
          /*per_worker=*/size_t(kBlockPixels) * taps_ * sizeof(const float*)};
}

void DirectConv::run(void* dst, const void* from, const void* residual, int batch, ThreadPool& pool,
                     Workspace& workspace) const {
  const float* src = static_cast<const float*>(from);
  if (by_rows_) {
    const int rows = batch * (geometry_.src.height + 2 * geometry_.padding);
    const int tasks = std::min(rows, pool.threads() * kTasksPerThread);
    pool.run(tasks, [&](int task, int) {
      for (int row = part_begin(rows, tasks, task); row < part_begin(rows, tasks, task + 1); row++)
        pad(workspace.shared(), src, row);
    });
    src = workspace.shared();
  }
  const Buffers buffers = {static_cast<float*>(dst), src, static_cast<const float*>(residual)};
  const int pixels = batch * geometry_.dst.height * geometry_.dst.width;
  const Blocks blocks(pixels, kBlockPixels, pool.threads());
  const int wanted = pool.threads() == 1 ? 1 : pool.threads() * kTasksPerThread;
  const int splits = depthwise_ ? 1 : std::min(panels_, divide_up(wanted, blocks.count()));
  pool.run(blocks.count() * splits, [&](int task, int worker) {
    const Range range = blocks[task / splits];
    const int split = task % splits;
    if (depthwise_)
      run_depthwise(buffers, range, workspace.of(worker));
    else
      run_block(buffers, range, {part_begin(panels_, splits, split), part_begin(panels_, splits, split + 1)},
                workspace.of(worker));
  });
}

// Fills one row of the padded images, [N][H + 2 padding][W + 2 padding][C].
void DirectConv::pad(float* dst, const float* src, int row) const {
  const core::Shape& shape = geometry_.src;
  const int padding = geometry_.padding, height = shape.height + 2 * padding;
  const size_t edge = size_t(padding) * shape.channels, length = size_t(shape.width) * shape.channels;
  const int n = row / height, y = row % height - padding;
  dst += row * (length + 2 * edge);
  if (y < 0 || y >= shape.height) {
    std::fill_n(dst, length + 2 * edge, 0.0f);
    return;
  }
  std::fill_n(dst, edge, 0.0f);
  std::copy_n(src + (size_t(n) * shape.height + y) * length, length, dst + edge);
  std::fill_n(dst + edge + length, edge, 0.0f);
}

// Calls at(n, y, x) for each output pixel, with its image and the input pixel under the first kernel
// position. Counts instead of dividing: divisions would take an eighth of the stem's time.
template <typename At>
void DirectConv::each_pixel(Range pixels, const At& at) const {
  const ConvGeometry& g = geometry_;
  int x = pixels.begin % g.dst.width, row = pixels.begin / g.dst.width;
  int y = row % g.dst.height, n = row / g.dst.height;
  for (int pixel = pixels.begin; pixel < pixels.end; pixel++) {
    at(n, y * g.stride - g.padding, x * g.stride - g.padding);
    if (++x < g.dst.width) continue;
    x = 0;
    if (++y < g.dst.height) continue;
    y = 0;
    n++;
  }
}

// Where each pixel's inputs begin, [taps][pixels].
const float** DirectConv::find_sources(const float* src, Range pixels, void* scratch) const {
  const ConvGeometry& g = geometry_;
  const float** const sources = static_cast<const float**>(scratch);
  const float** next = sources;
  const int count = pixels.size();
  if (g.kernel == 1 && g.stride == 1 && g.padding == 0) {
    const float* from = src + size_t(pixels.begin) * g.src.channels;
    for (int i = 0; i < count; i++, from += g.src.channels) sources[i] = from;
    return sources;
  }
  if (by_rows_) {
    const int height = g.src.height + 2 * g.padding, width = g.src.width + 2 * g.padding;
    each_pixel(pixels, [&](int n, int y, int x) {
      const float* from =
          src + ((size_t(n) * height + y + g.padding) * width + x + g.padding) * g.src.channels;
      for (int r = 0; r < g.kernel; r++, from += size_t(width) * g.src.channels) next[r * count] = from;
      next++;
    });
    return sources;
  }
  each_pixel(pixels, [&](int n, int top, int left) {
    const float** tap = next++;
    for (int y = top; y < top + g.kernel; y++)
      for (int x = left; x < left + g.kernel; x++, tap += count) {
        const bool inside = y >= 0 && y < g.src.height && x >= 0 && x < g.src.width;
        *tap = inside ? src + ((size_t(n) * g.src.height + y) * g.src.width + x) * g.src.channels
                      : zeros_.data();
      }
  });
  return sources;
}

void DirectConv::run_block(const Buffers& buffers, Range pixels, Range panels, void* scratch) const {
  const float* const* sources = find_sources(buffers.src, pixels, scratch);
  for (const Strip& strip : strips_) {
    const Range mine = {std::max(panels.begin - strip.first_panel, 0),
                        std::min(panels.end - strip.first_panel, strip.panels)};
    if (mine.size() > 0) run_panels(buffers, pixels, strip, mine, sources);
  }
}

// Works in passes: in each, some panels' weights for one block of the depth stay in cache while all tiles of
// pixels go through them. Between two blocks the sums wait in dst. Meanwhile the next pass's weights are
// prefetched; if there is only one pass and pixels lie side by side, the next tile's residual or else its
// inputs.
void DirectConv::run_panels(const Buffers& buffers, Range pixels, const Strip& strip, Range panels,
                            const float* const* sources) const {
  const int width = strip.vectors * kernels_.lanes;
  const int rows = pixels.size(), tiles = divide_up(rows, kMaxTileRows);
  const int channels = geometry_.dst.channels;
  const int fitting = std::max<int>(kPassWeights / (depth_[0].size() * width), 1);
  const int passes = divide_up(panels.size(), fitting);
  const bool fetch_pixels = geometry_.kernel == 1 && geometry_.stride == 1 && passes * depth_.size() == 1;
  for (size_t b = 0; b < depth_.size(); b++) {
    const DepthBlock& block = depth_[b];
    const bool first = b == 0, last = b + 1 == depth_.size();
    for (int pass = 0; pass < passes; pass++) {
      const int begin = panels.begin + part_begin(panels.size(), passes, pass);
      const int end = panels.begin + part_begin(panels.size(), passes, pass + 1);
      ConvTile tile = {};
      tile.source_stride = rows;
      tile.source_offset = size_t(strip.group) * geometry_.group_inputs() * merge_ + block.channel;
      tile.taps = block.taps;
      tile.length = block.channels;
      tile.weight = weight_.data() + packed_offset(strip, block, begin);
      tile.bias = first ? bias_.data() + strip.bias + size_t(begin) * width : nullptr;
      tile.dst_stride = channels;
      tile.columns = std::min(end * width, strip.columns) - begin * width;
      tile.relu = last && geometry_.relu;
      tile.from = from_.data();
      const float* next = nullptr;  // weights of the next pass
      if (pass + 1 < passes)
        next = weight_.data() + packed_offset(strip, block, end);
      else if (!last)
        next = weight_.data() + packed_offset(strip, depth_[b + 1], panels.begin);
      const size_t size = block.size() * (end - begin) * width;
      const Prefetch weights(size, tile, end - begin, tiles);
      const int length = last && buffers.residual ? channels : geometry_.src.channels;
      const Prefetch next_tile(size_t(kMaxTileRows) * length, tile, end - begin, /*tiles=*/1);
      for (int t = 0; t < tiles; t++) {
        const int row = part_begin(rows, tiles, t), count = part_begin(rows, tiles, t + 1) - row;
        const size_t at = size_t(pixels.begin + row) * channels + strip.channel + size_t(begin) * width;
        tile.sources = sources + size_t(block.tap) * rows + row;
        tile.dst = buffers.dst + at;
        tile.residual = last && buffers.residual ? buffers.residual + at : nullptr;
        if (fetch_pixels && t + 1 < tiles) {
          const float* const inputs = tile.sources[count] + tile.source_offset;
          next_tile.set(tile, tile.residual ? tile.residual + size_t(count) * channels : inputs, 0);
        } else {
          weights.set(tile, next, t);
        }
        if (merge_ > 1)
          kernels_.grouped_tile[count - 1](tile);
        else
          kernels_.conv_tile[count - 1][strip.vectors - 1](tile);
      }
    }
  }
}

void DirectConv::run_depthwise(const Buffers& buffers, Range pixels, void* scratch) const {
  const int channels = geometry_.dst.channels;
  for (int pixel = pixels.begin; pixel < pixels.end; pixel++) {
    const float* const* taps = find_sources(buffers.src, {pixel, pixel + 1}, scratch);
    const size_t at = size_t(pixel) * channels;
    kernels_.depthwise(buffers.dst + at, taps, weight_.data(), bias_.data(),
                       buffers.residual ? buffers.residual + at : nullptr, taps_, channels, geometry_.relu);
  }
}

}  // namespace residual::cpu
