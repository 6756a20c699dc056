// Packs a DotConv's weights in the order in which kernels read them.
#include <algorithm>
#include <cmath>
#include <string>

#include "core/error.h"
#include "cpu/bf16.h"
#include "cpu/dot_conv.h"

namespace residual::cpu {
namespace {

constexpr double kMostWeight = 127;          // -128 is no weight's
constexpr double kMostStart = 1 << 30;       // of an int32 that sums start from: half of what there is
constexpr double kMostSteps = 2147483000.0;  // of a result before it is clamped: an int32 holds them

// The nearest integer, even if there are two, of a number below 2^51.
double nearest(double number) {
  constexpr double kMagic = 3377699720527872.0 * 2;  // 1.5 * 2^52: its last bit counts ones
  return number + kMagic - kMagic;
}

}  // namespace

void DotConv::pack(core::StoredWeights& weights, const float* bias) {
  for (const Strip& strip : strips_)
    if (numbers_.src.precision == core::Precision::kBf16)
      pack_bf16(strip, weights, bias);
    else
      pack_int8(strip, weights, bias);
}

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

void DotConv::pack_int8(const Strip& strip, core::StoredWeights& weights, const float* bias) {
  const size_t size = weights.shape().inputs * weights.shape().taps;
  // The normalisation that goes into an image's weights makes others of them.
  const bool as_stored = weights.is_quantized() && !numbers_.bytes.mean;
  std::vector<float> folded(size);
  std::vector<int8_t> integers(kPanelColumns * size);
  each_part(strip, [&](int k, int count) {
    if (as_stored) weights.integers(integers.data(), k, count);
    for (int i = 0; i < count; i++) {
      int8_t* const channel = integers.data() + i * size;
      const float own_bias = bias[k + i];
      double scale = as_stored ? weights.scale(k + i) : 0;
      if (scale == 0 || std::abs(own_bias) > numbers_.src.scale * scale * kMostStart) {
        weights.fold(folded.data(), k + i, 1, 0, size);
        scale = round_weights(folded.data(), channel, own_bias);
      }
      set_channel(strip.first_panel * kPanelColumns + k + i - strip.output, k + i, channel, scale, own_bias);
    }
    place(strip, k, count, integers.data());
  });
}

// What the sums of output channel `k` start from and are multiplied by.
void DotConv::set_channel(int column, int k, const int8_t* integers, double scale, double bias) {
  const double step = numbers_.src.scale * scale;  // of a sum
  const double start = nearest(bias / step - zeros(integers));
  reinterpret_cast<int32_t*>(start_.data())[column] =
      static_cast<int32_t>(std::clamp(start, -kMostStart, kMostStart));
  scale_.data()[column] = static_cast<float>(step / numbers_.dst.scale);
  check_range(k, integers, start, scale_.data()[column]);
}

// Rounds the weights of one output channel, [C/groups][R*S], to int8, and returns what their steps stand for.
// Where the source is an image's bytes the normalisation goes into them.
double DotConv::round_weights(float* weights, int8_t* integers, double bias) const {
  const int taps = geometry_.taps(), count = geometry_.group_inputs() * taps;
  if (numbers_.bytes.std)
    for (int i = 0; i < count; i++)
      weights[i] = static_cast<float>(weights[i] / (255.0 * (*numbers_.bytes.std)[i / taps]));
  float largest = 0;
  for (int i = 0; i < count; i++) largest = std::max(largest, std::abs(weights[i]));
  // Where a bias is that much larger than the weights, the steps are such as an int32 can count.
  const double least = std::abs(bias) / (numbers_.src.scale * kMostStart);
  double scale = static_cast<float>(std::max(largest / kMostWeight, least));
  if (scale == 0) scale = 1;
  for (int i = 0; i < count; i++) integers[i] = static_cast<int8_t>(nearest(weights[i] / scale));
  return scale;
}

// Throws CHECKPOINT_INVALID where results could have more steps than the kernels round.
void DotConv::check_range(int k, const int8_t* integers, double start, double scale) const {
  int64_t sum = 0;
  for (int i = 0; i < geometry_.group_inputs() * geometry_.taps(); i++) sum += std::abs(integers[i]);
  double steps = (std::abs(start) + 255.0 * sum) * scale;
  if (numbers_.residual) steps += 255.0 * numbers_.residual->scale / numbers_.dst.scale;
  if (steps < kMostSteps) return;
  throw core::Error(core::ErrorCode::kCheckpointInvalid,
                    "The scales of channel " + std::to_string(k) +
                        " are too far apart: results could be over 2^31 times the scale of the output.");
}

// What a channel's sum is for an image of nothing but the mean, which is 0 once it is normalised; 0 where the
// source is not an image's bytes.
double DotConv::zeros(const int8_t* integers) const {
  if (!numbers_.bytes.mean) return 0;
  const int taps = geometry_.taps();
  double sum = 0;
  for (int i = 0; i < geometry_.group_inputs() * taps; i++)
    sum += integers[i] * 255.0 * (*numbers_.bytes.mean)[i / taps];
  return sum;
}

}  // namespace residual::cpu
