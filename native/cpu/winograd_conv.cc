#include "cpu/winograd_conv.h"

#include <algorithm>
#include <cstring>

#include "cpu/parts.h"

namespace residual::cpu {
namespace {

constexpr int kOut = 4;             // pixels of an output patch, each way
constexpr int kIn = kOut + 2;       // of the input patch it depends on
constexpr int kPoints = kIn * kIn;  // matrix products per patch
constexpr int kBlockTiles = 36;     // patches of one task: their products stay in the second-level cache
constexpr int kTransformTiles = 6;  // patches of one task of the input transform
constexpr int kTasksPerThread = 4;

// Fewer patches in a picture than this, and reading four times the weights takes longer than is won.
constexpr int kLeastTiles = 12;
// The transformed weights of wider layers are too large to be read for a single picture.
constexpr int kMostWeights = 256 * 256;

// The kernel transform G of F(4,3): patch = G kernel G^T.
constexpr double kG[kIn][3] = {{1. / 4, 0, 0},
                               {-1. / 6, -1. / 6, -1. / 6},
                               {-1. / 6, 1. / 6, -1. / 6},
                               {1. / 24, 1. / 12, 1. / 6},
                               {1. / 24, -1. / 12, 1. / 6},
                               {0, 0, 1}};

}  // namespace

bool WinogradConv::pays(const ConvGeometry& g, const Kernels& kernels) {
  const int lanes = kernels.lanes;
  return g.kernel == 3 && g.stride == 1 && g.padding == 1 && g.groups == 1 && g.src.channels % lanes == 0 &&
         g.dst.channels % lanes == 0 && g.src.channels >= 2 * lanes && g.dst.channels >= 2 * lanes &&
         size_t(g.src.channels) * g.dst.channels <= kMostWeights &&
         divide_up(g.dst.height, kOut) * divide_up(g.dst.width, kOut) >= kLeastTiles;
}

WinogradConv::WinogradConv(const ConvGeometry& geometry, const Kernels& kernels, const float* weight,
                           const float* bias)
    : geometry_(geometry),
      kernels_(kernels),
      rows_(divide_up(geometry.dst.height, kOut)),
      row_tiles_(divide_up(geometry.dst.width, kOut)),
      panels_(divide_up(geometry.dst.channels, kernels.lanes * kernels.tile_vectors)),
      weight_(size_t(kPoints) * geometry.src.channels * geometry.dst.channels),
      bias_(geometry.dst.channels),
      zeros_(std::max(geometry.src.channels, kMaxTileVectors * kMaxVectorLanes)) {
  const int inputs = geometry.src.channels, outputs = geometry.dst.channels;
  std::memcpy(bias_.data(), bias, bias_.bytes());
  std::memset(zeros_.data(), 0, zeros_.bytes());
  const int width = kernels.lanes * kernels.tile_vectors;
  for (int k = 0; k < outputs; k++) {
    const int panel = k / width, column = k % width;
    float* to = weight_.data() + size_t(panel) * width * kPoints * inputs + column;
    for (int c = 0; c < inputs; c++) {
      const float* kernel = weight + size_t(k) * 9 * inputs + c;
      double half[kIn][3];  // G kernel
      for (int i = 0; i < kIn; i++)
        for (int s = 0; s < 3; s++) {
          half[i][s] = 0;
          for (int r = 0; r < 3; r++) half[i][s] += kG[i][r] * kernel[(r * 3 + s) * inputs];
        }
      for (int i = 0; i < kIn; i++)
        for (int j = 0; j < kIn; j++) {
          double sum = 0;
          for (int s = 0; s < 3; s++) sum += half[i][s] * kG[j][s];
          to[(size_t(i * kIn + j) * inputs + c) * columns(panel)] = static_cast<float>(sum);
        }
    }
  }
}

int WinogradConv::columns(int panel) const {
  const int width = kernels_.lanes * kernels_.tile_vectors;
  return std::min(width, geometry_.dst.channels - panel * width);
}

WorkspaceSize WinogradConv::workspace_size(int batch) const {
  const size_t tiles = size_t(batch) * rows_ * row_tiles_;
  const size_t products = size_t(kPoints) * kBlockTiles * kernels_.lanes * kernels_.tile_vectors;
  return {/*shared=*/tiles * kPoints * geometry_.src.channels * sizeof(float),
          /*per_worker=*/products * sizeof(float)};
}

void WinogradConv::run(float* dst, const float* src, const float* residual, int batch, ThreadPool& pool,
                       Workspace& workspace) const {
  const int tiles = batch * rows_ * row_tiles_;
  const Buffers buffers = {dst, src, residual, workspace.shared(), tiles};
  const int transforms = divide_up(tiles, kTransformTiles);
  pool.run(transforms, [&](int task, int) {
    transform_inputs(buffers, {part(tiles, transforms, task), part(tiles, transforms, task + 1)});
  });

  const int blocks = divide_up(tiles, kBlockTiles);
  const int wanted = pool.threads() == 1 ? 1 : pool.threads() * kTasksPerThread;
  const int splits = std::min(panels_, divide_up(wanted, blocks));
  pool.run(blocks * splits, [&](int task, int worker) {
    const int block = task % blocks, split = task / blocks;
    const Range range = {part(tiles, blocks, block), part(tiles, blocks, block + 1)};
    float* products = static_cast<float*>(workspace.of(worker));
    for (int panel = part(panels_, splits, split); panel < part(panels_, splits, split + 1); panel++) {
      multiply(buffers, range, panel, products);
      write_outputs(buffers, range, panel, products);
    }
  });
}

WinogradConv::Tile WinogradConv::tile(int index) const {
  const int within = index % (rows_ * row_tiles_);
  return {index / (rows_ * row_tiles_), within / row_tiles_ * kOut, within % row_tiles_ * kOut};
}

void WinogradConv::transform_inputs(const Buffers& buffers, Range tiles) const {
  const core::Shape& shape = geometry_.src;
  for (int t = tiles.begin; t < tiles.end; t++) {
    const Tile at = tile(t);
    const float* sources[kPoints];
    for (int i = 0; i < kIn; i++)
      for (int j = 0; j < kIn; j++) {
        const int y = at.y + i - geometry_.padding, x = at.x + j - geometry_.padding;
        const bool inside = y >= 0 && y < shape.height && x >= 0 && x < shape.width;
        const size_t pixel = (size_t(at.picture) * shape.height + y) * shape.width + x;
        sources[i * kIn + j] = inside ? buffers.src + pixel * shape.channels : zeros_.data();
      }
    kernels_.winograd_input(buffers.transformed + size_t(t) * shape.channels,
                            size_t(buffers.tiles) * shape.channels, sources, shape.channels);
  }
}

// products[point][tile][column] = transformed[point][tile][:] x weight[panel][point][:][column]
void WinogradConv::multiply(const Buffers& buffers, Range tiles, int panel, float* products) const {
  const int inputs = geometry_.src.channels, width = columns(panel), count = tiles.end - tiles.begin;
  const int steps = divide_up(count, kMaxTileRows);
  const float* sources[kMaxTileRows];
  ConvTile step = {};
  step.sources = sources;
  step.source_stride = kMaxTileRows;
  step.taps = 1;
  step.length = inputs;
  step.bias = zeros_.data();
  step.dst_stride = width;
  step.columns = width;
  const size_t first = size_t(panel) * kernels_.lanes * kernels_.tile_vectors * kPoints * inputs;
  for (int point = 0; point < kPoints; point++) {
    step.weight = weight_.data() + first + size_t(point) * inputs * width;
    step.prefetch = step.weight;
    for (int s = 0; s < steps; s++) {
      const int row = part(count, steps, s), rows = part(count, steps, s + 1) - row;
      for (int r = 0; r < rows; r++)
        sources[r] = buffers.transformed + (size_t(point) * buffers.tiles + tiles.begin + row + r) * inputs;
      step.dst = products + (size_t(point) * count + row) * width;
      kernels_.conv_tile[rows - 1][width / kernels_.lanes - 1](step);
    }
  }
}

void WinogradConv::write_outputs(const Buffers& buffers, Range tiles, int panel,
                                 const float* products) const {
  const core::Shape& shape = geometry_.dst;
  const int width = columns(panel), count = tiles.end - tiles.begin;
  const int channel = panel * kernels_.lanes * kernels_.tile_vectors;
  for (int t = 0; t < count; t++) {
    const Tile at = tile(tiles.begin + t);
    const size_t pixel = (size_t(at.picture) * shape.height + at.y) * shape.width + at.x;
    WinogradOutput output = {};
    output.products = products + size_t(t) * width;
    output.stride = size_t(count) * width;
    output.bias = bias_.data() + channel;
    output.dst = buffers.dst + pixel * shape.channels + channel;
    output.residual = buffers.residual ? buffers.residual + pixel * shape.channels + channel : nullptr;
    output.row_stride = size_t(shape.width) * shape.channels;
    output.pixel_stride = shape.channels;
    output.rows = std::min(kOut, shape.height - at.y);
    output.columns = std::min(kOut, shape.width - at.x);
    output.channels = width;
    output.relu = geometry_.relu;
    kernels_.winograd_output(output);
  }
}

}  // namespace residual::cpu
