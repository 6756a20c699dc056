// Packs a DotConv's weights in the order in which kernels read them.
#include <algorithm>

#include "cpu/bf16.h"
#include "cpu/dot_conv.h"

namespace residual::cpu {

// Puts the weights of some output channels of one panel and one group, [count][C/groups][R*S], where the
// kernels read them.
template <typename Number>
void DotConv::place(const Strip& strip, int k, int count, const Number* channels) {
  constexpr int kNumbers = 4 / sizeof(Number);  // of a dword
  constexpr int kRowNumbers = kPanelColumns * kNumbers;
  const ConvGeometry& g = geometry_;
  const int column = k - strip.output, taps = g.taps();
  const int first = k / g.group_outputs() * g.group_inputs() - strip.input;  // input of the group
  const size_t size = size_t(g.group_inputs()) * taps;
  std::byte* const panel = reinterpret_cast<std::byte*>(weight_.data()) + strip.weight +
                           column / kPanelColumns * panel_bytes(strip);
  Number* const to = reinterpret_cast<Number*>(panel) + column % kPanelColumns * kNumbers;
  for (int r = 0; r < g.kernel; r++)
    for (int s = 0; s < g.kernel; s++) {
      const Number* from = channels + r * g.kernel + s;
      const DotRows::Place place = rows_.place(r, s, first);
      Number* const tap = to + size_t(place.tap) * strip.depth / 4 * kRowNumbers;
      for (int c = 0; c < g.group_inputs(); c++, from += taps) {
        const int index = place.index + c;
        Number* const row = tap + index / kNumbers * kRowNumbers + index % kNumbers;
        for (int i = 0; i < count; i++) row[i * kNumbers] = from[i * size];
      }
    }
}

// Calls use(k, count) for the output channels of a strip: such as are of one panel and one group.
template <typename Use>
void DotConv::each_part(const Strip& strip, const Use& use) {
  const int outputs = geometry_.group_outputs();
  for (int column = 0, count = 0; column < strip.outputs; column += count) {
    const int k = strip.output + column;
    count = std::min({kPanelColumns - column % kPanelColumns, outputs - k % outputs, strip.outputs - column});
    use(k, count);
  }
}

void DotConv::pack_bf16(const Strip& strip, core::StoredWeights& weights, const float* bias) {
  const size_t size = weights.shape().inputs * weights.shape().taps;
  std::vector<float> folded(kPanelColumns * size);
  std::vector<uint16_t> rounded(kPanelColumns * size);
  float* const start = start_.data() + strip.first_panel * kPanelColumns;
  each_part(strip, [&](int k, int count) {
    weights.fold(folded.data(), k, count, 0, size);
    std::transform(folded.data(), folded.data() + count * size, rounded.data(), to_bf16);
    place(strip, k, count, rounded.data());
    std::copy_n(bias + k, count, start + k - strip.output);
  });
}

void DotConv::pack_int8(const Strip& strip, const Int8Weights& weights) {
  const size_t column = strip.first_panel * kPanelColumns;
  each_part(strip, [&](int k, int count) {
    place(strip, k, count, weights.integers(k));
    for (int i = 0; i < count; i++) {
      reinterpret_cast<int32_t*>(start_.data())[column + k + i - strip.output] = weights.start(k + i);
      scale_.data()[column + k + i - strip.output] = weights.scale(k + i);
    }
  });
}

// What packed weights contribute to sums.
void DotConv::find_bounds(const Strip& strip) {
  constexpr int kPairs = kPanelRow / 2, kDwords = kBoundedBytes / 4;
  const auto* row = reinterpret_cast<const int8_t*>(weight_.data()) + strip.weight;
  Bounds* bounds = bounds_.data() + strip.bounds;
  for (int tap = 0; tap < strip.panels() * rows_.taps(); tap++)
    for (int left = strip.depth / 4; left > 0; left -= kDwords, bounds++)
      for (int group = 0; group < std::min(left, kDwords) / 2; group++) {
        int16_t sums[2][2][kPairs];  // [dword][sign]
        for (int dword = 0; dword < 2; dword++, row += kPanelRow)
          for (int k = 0; k < kPairs; k++) {
            const int16_t first = row[2 * k], second = row[2 * k + 1];
            sums[dword][0][k] = std::max<int16_t>(first, 0) + std::max<int16_t>(second, 0);
            sums[dword][1][k] = sums[dword][0][k] - first - second;
          }
        for (int half = 0; half < 2; half++) {
          int pairs[2] = {}, fours = 0;
          for (int sign = 0; sign < 2; sign++)
            for (int k = half; k < kPairs; k += 2) {
              const int first = sums[0][sign][k], second = sums[1][sign][k];
              pairs[0] = std::max(pairs[0], first);
              pairs[1] = std::max(pairs[1], second);
              fours = std::max(fours, first + second);
            }
          for (int dword = 0; dword < 2; dword++)
            bounds->pairs[group][half][dword] = static_cast<int8_t>((pairs[dword] + 1) / 2);
          bounds->fours[group][half][0] = static_cast<int8_t>((fours + 3) / 4);
        }
      }
}

}  // namespace residual::cpu
