// Packs a DirectConv's weights in the order in which run_panels() reads them.
#include <algorithm>
#include <cstring>
#include <iterator>
#include <vector>

#include "cpu/direct_conv.h"
#include "cpu/ranges.h"

namespace residual::cpu {
namespace {

// Taps x channels summed in one pass; between two passes the sums go through memory.
constexpr int kBlockDepth = 512;
constexpr int kPackedDepth = 256;  // of the weights packed together: they stay in cache

}  // namespace

void DirectConv::plan_merged() {
  const int lanes = kernels_.lanes, inputs = geometry_.group_inputs(), outputs = geometry_.group_outputs();
  from_.assign(size_t(inputs) * lanes, 0);
  for (int c = 0; c < inputs; c++)
    for (int k = 0; k < outputs * merge_; k++) from_[c * lanes + k] = k / outputs * inputs + c;
}

void DirectConv::plan_depth() {
  const int block_taps = std::clamp(kBlockDepth / length_, 1, taps_);
  const int pieces = divide_up(length_, kBlockDepth);  // of one tap; 1 where taps are whole
  for (int tap = 0; tap < taps_; tap += block_taps)
    for (int piece = 0; piece < pieces; piece++) {
      const int begin = part_begin(length_, pieces, piece), end = part_begin(length_, pieces, piece + 1);
      depth_.push_back(
          {tap, std::min(block_taps, taps_ - tap), begin, end - begin, size_t(tap) * length_ + begin});
    }
}

// A group's channels, in panels of the widest tile; the rest is a strip of its own.
void DirectConv::plan_strips(PageArena& arena) {
  const int lanes = kernels_.lanes;
  const int columns = geometry_.group_outputs() * merge_;
  const int widest = kernels_.tile_vectors * lanes, full = columns / widest;
  const size_t depth = size_t(taps_) * length_;
  size_t weights = 0, biases = 0;
  const auto add = [&](int group, int first, int count, int vectors, int panels) {
    if (count == 0) return;
    strips_.push_back({group, group * columns + first, count, vectors, panels, panels_, weights, biases});
    panels_ += panels;
    weights += depth * panels * vectors * lanes;
    biases += size_t(panels) * vectors * lanes;
  };
  for (int group = 0; group < geometry_.groups / merge_; group++) {
    const int rest = columns - full * widest;
    add(group, 0, full * widest, kernels_.tile_vectors, full);
    add(group, full * widest, rest, divide_up(rest, lanes), 1);
  }
  weight_ = AlignedBuffer(weights, arena);
  bias_ = AlignedBuffer(biases, arena);
}

void DirectConv::pack_depthwise(core::StoredWeights& weights, const float* bias, PageArena& arena) {
  const int taps = geometry_.taps(), channels = geometry_.dst.channels;
  weight_ = AlignedBuffer(size_t(taps) * channels, arena);
  bias_ = AlignedBuffer(channels, arena);
  std::memcpy(bias_.data(), bias, bias_.bytes());
  TransposedWeights transposed(weights, kernels_);
  std::memcpy(weight_.data(), transposed.take(/*k=*/0, channels, /*c=*/0, /*count=*/1), weight_.bytes());
}

size_t DirectConv::packed_offset(const Strip& strip, const DepthBlock& block, int panel) const {
  return strip.weight + (block.depth * strip.panels + block.size() * panel) * strip.vectors * kernels_.lanes;
}

void DirectConv::pack(core::StoredWeights& weights, const float* bias) {
  std::memset(bias_.data(), 0, bias_.bytes());
  if (merge_ > 1 || geometry_.group_outputs() % kernels_.lanes != 0)  // gaps that no weight fills
    std::memset(weight_.data(), 0, weight_.bytes());
  for (const Strip& strip : strips_)
    std::memcpy(bias_.data() + strip.bias, bias + strip.channel, strip.columns * sizeof(float));
  TransposedWeights transposed(weights, kernels_);
  const int inputs = geometry_.group_inputs(), step = std::max(1, kPackedDepth / geometry_.taps());
  const int together = transposed.inputs_at_once(step);
  for (int c = 0; c < inputs; c += together)
    for (const Strip& strip : strips_)
      for (int panel = 0; panel < strip.panels; panel++)
        for (int at = c; at < std::min(c + together, inputs); at += step)
          pack_panel(strip, panel, {at, std::min(at + step, inputs)}, transposed);
}

void DirectConv::pack_panel(const Strip& strip, int panel, Range channels, TransposedWeights& transposed) {
  const int taps = geometry_.taps(), inputs = geometry_.group_inputs(), outputs = geometry_.group_outputs();
  const int width = strip.vectors * kernels_.lanes, first = strip.channel + panel * width;
  const int columns = std::min(width, strip.columns - panel * width);
  int end = 0;
  for (int column = 0; column < columns; column = end) {  // one merged group at a time
    const int k = first + column;
    end = merge_ == 1 ? columns : std::min(columns, column + outputs - k % outputs);
    const float* from = transposed.take(k, end - column, channels.begin, channels.size());
    for (int c = channels.begin; c < channels.end; c++)
      for (int tap = 0; tap < taps; tap++, from += end - column) {
        const size_t depth = size_t(tap) * inputs + c;
        std::memcpy(packed_row(strip, panel, depth) + column, from, (end - column) * sizeof(float));
      }
  }
}

// The address of a panel's weights for one input channel of one tap, with `depth` such rows before it.
float* DirectConv::packed_row(const Strip& strip, int panel, size_t depth) {
  const auto begins_after = [](size_t at, const DepthBlock& block) { return at < block.depth; };
  const DepthBlock& block = *std::prev(std::upper_bound(depth_.begin(), depth_.end(), depth, begins_after));
  return weight_.data() + packed_offset(strip, block, panel) +
         (depth - block.depth) * strip.vectors * kernels_.lanes;
}

}  // namespace residual::cpu
