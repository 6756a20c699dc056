#include "cpu/dot_conv.h"

#include <algorithm>
#include <cstring>

namespace residual::cpu {
namespace {

constexpr int kTasksPerThread = 4;

int round_up(int a, int b) { return divide_up(a, b) * b; }

// Groups to compute together: as many as fill a tap's unit of inputs, or a panel of outputs.
int merged_groups(const ConvGeometry& g, int bytes, const DotKernels& kernels) {
  if (g.groups == 1) return 1;
  const int by_inputs = kernels.unit / (g.group_inputs() * bytes);
  const int by_outputs = kPanelColumns / g.group_outputs();
  return std::clamp(std::max(by_inputs, by_outputs), 1, g.groups);
}

// What a copied pixel needs: every strip reads whole units.
size_t pixel_bytes(const ConvGeometry& g, int bytes, const DotKernels& kernels) {
  const int merged = merged_groups(g, bytes, kernels), strip = merged * g.group_inputs() * bytes;
  const int last = (divide_up(g.groups, merged) - 1) * strip;
  return std::max(g.src.channels * bytes, last + round_up(strip, kernels.unit));
}

}  // namespace

DotConv::DotConv(const ConvGeometry& geometry, const DotNumbers& numbers, const DotKernels& kernels,
                 PageArena& arena)
    : geometry_(geometry),
      numbers_(numbers),
      kernels_(kernels),
      rows_(geometry, kernels, numbers.src_bytes(), pixel_bytes(geometry, numbers.src_bytes(), kernels),
            padding_pixel(numbers)) {
  plan_strips();
  size_t bytes = 0, bounds = 0;
  for (Strip& strip : strips_) {
    strip.weight = bytes;
    bytes += strip.panels() * panel_bytes(strip);
    strip.bounds = bounds;
    bounds += strip.panels() * panel_bounds(strip);
  }
  bounds_.resize(bounds);
  weight_ = AlignedBuffer(bytes / sizeof(float), arena);
  start_ = AlignedBuffer(size_t(panels_) * kPanelColumns, arena);
  scale_ = AlignedBuffer(size_t(panels_) * kPanelColumns, arena);
  for (AlignedBuffer* buffer : {&weight_, &start_, &scale_}) std::memset(buffer->data(), 0, buffer->bytes());
}

DotConv::DotConv(const ConvGeometry& geometry, const DotNumbers& numbers, const DotKernels& kernels,
                 const Int8Weights& weights, PageArena& arena)
    : DotConv(geometry, numbers, kernels, arena) {
  for (const Strip& strip : strips_) pack_int8(strip, weights);
  if (!kernels_.has_bounds) return;
  for (const Strip& strip : strips_) find_bounds(strip);
}

DotConv::DotConv(const ConvGeometry& geometry, const DotNumbers& numbers, const DotKernels& kernels,
                 core::StoredWeights& weights, const float* bias, PageArena& arena)
    : DotConv(geometry, numbers, kernels, arena) {
  for (const Strip& strip : strips_) pack_bf16(strip, weights, bias);
}

void DotConv::plan_strips() {
  const ConvGeometry& g = geometry_;
  const int bytes = numbers_.src_bytes(), merged = merged_groups(g, bytes, kernels_);
  for (int group = 0; group < g.groups; group += merged) {
    const int groups = std::min(merged, g.groups - group);
    Strip strip = {};
    strip.input = group * g.group_inputs();
    strip.inputs = groups * g.group_inputs();
    strip.output = group * g.group_outputs();
    strip.outputs = groups * g.group_outputs();
    const bool by_rows = DotRows::takes_kernel_rows(g, bytes);
    const int numbers = by_rows ? rows_.kernel_row_numbers() : strip.inputs;
    strip.depth = round_up(numbers * bytes, kernels_.unit);
    strip.first_panel = panels_;
    panels_ += strip.panels();
    strips_.push_back(strip);
  }
}

size_t DotConv::panel_bytes(const Strip& strip) const {
  return size_t(rows_.taps()) * strip.depth / 4 * kPanelRow;
}

size_t DotConv::panel_bounds(const Strip& strip) const {
  return kernels_.has_bounds ? size_t(rows_.taps()) * divide_up(strip.depth, kBoundedBytes) : 0;
}

WorkspaceSize DotConv::workspace_size(int /*batch*/, int /*threads*/) const {
  return {/*shared=*/0, /*per_worker=*/rows_.scratch_bytes()};
}

void DotConv::run(void* dst, const void* src, const void* residual, int batch, ThreadPool& pool,
                  Workspace& workspace) const {
  const int wanted = pool.threads() == 1 ? 1 : pool.threads() * kTasksPerThread;
  const int chunks = rows_.chunks(batch, wanted, pool.threads(), are_many_weights(weight_.bytes()));
  const int splits = std::min(divide_up(wanted, chunks), divide_up(strips_.front().panels(), 2));
  const DotOutput output = dot_output(geometry_, numbers_, dst, residual);
  pool.run(chunks * splits, [&](int index, int worker) {
    const DotChunk chunk = rows_.chunk(index / splits, chunks, batch);
    const DotChunkRows rows = rows_.arrange(static_cast<const std::byte*>(src), chunk,
                                            static_cast<std::byte*>(workspace.of(worker)));
    for (const Strip& strip : strips_) {
      const int pairs = divide_up(strip.panels(), 2), split = index % splits;
      const int begin = part_begin(pairs, splits, split) * 2;
      const int end = std::min(part_begin(pairs, splits, split + 1) * 2, strip.panels());
      if (begin >= end) continue;
      DotTask task = {};
      task.blocks = rows.blocks;
      task.block_count = rows.block_count;
      task.runs = rows.runs;
      task.row_stride = rows.row_stride;
      task.taps = rows.taps;
      task.tap_count = rows_.taps();
      task.source_offset = size_t(strip.input) * numbers_.src_bytes();
      task.depth = strip.depth;
      task.is_signed = numbers_.src.precision == core::Precision::kInt8;
      task.weight =
          reinterpret_cast<const std::byte*>(weight_.data()) + strip.weight + begin * panel_bytes(strip);
      if (kernels_.has_bounds) task.bounds = bounds_.data() + strip.bounds + begin * panel_bounds(strip);
      const size_t column = size_t(strip.first_panel + begin) * kPanelColumns;
      task.start = start_.data() + column;
      task.scale = scale_.data() + column;
      task.channel = strip.output + begin * kPanelColumns;
      task.columns = std::min(end * kPanelColumns, strip.outputs) - begin * kPanelColumns;
      task.output = output;
      kernels_.run(task);
    }
  });
}

}  // namespace residual::cpu
