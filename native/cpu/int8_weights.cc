#include "cpu/int8_weights.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "core/error.h"

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

Int8Weights::Int8Weights(const ConvGeometry& geometry, const DotNumbers& numbers,
                         core::StoredWeights& weights, const float* bias)
    : geometry_(geometry),
      numbers_(numbers),
      size_(weights.shape().inputs * weights.shape().taps),
      integers_(geometry.dst.channels * size_),
      start_(geometry.dst.channels),
      scale_(geometry.dst.channels) {
  constexpr int kTogether = 16;  // output channels that are read together
  // The normalisation that goes into an image's weights makes others of them.
  const bool as_stored = weights.is_quantized() && !numbers_.bytes.mean;
  std::vector<float> folded(size_);
  for (int k = 0; k < geometry_.dst.channels; k++) {
    if (as_stored && k % kTogether == 0)
      weights.integers(integers_.data() + k * size_, k, std::min(kTogether, geometry_.dst.channels - k));
    double scale = as_stored ? weights.scale(k) : 0;
    if (scale == 0 || std::abs(bias[k]) > numbers_.src.scale * scale * kMostStart) {
      weights.fold(folded.data(), k, 1, 0, size_);
      scale = round(k, folded.data(), bias[k]);
    }
    set_channel(k, scale, bias[k]);
  }
}

// What the sums of output channel `k` start from and are multiplied by. Its weights are integers times
// `scale`.
void Int8Weights::set_channel(int k, double scale, double bias) {
  const double step = numbers_.src.scale * scale;  // of a sum
  const double start = nearest(bias / step - zeros(k));
  start_[k] = static_cast<int32_t>(std::clamp(start, -kMostStart, kMostStart));
  scale_[k] = static_cast<float>(step / numbers_.dst.scale);
  check_range(k, start, scale_[k]);
}

// Rounds the weights of one output channel, [C/groups][R*S], and returns what their steps stand for. Where
// the source is an image's bytes the normalisation goes into them.
double Int8Weights::round(int k, float* weights, double bias) {
  const size_t taps = geometry_.taps();
  if (numbers_.bytes.std)
    for (size_t i = 0; i < size_; i++)
      weights[i] = static_cast<float>(weights[i] / (255.0 * (*numbers_.bytes.std)[i / taps]));
  float largest = 0;
  for (size_t i = 0; i < size_; i++) largest = std::max(largest, std::abs(weights[i]));
  // Where a bias is that much larger than the weights, the steps are such as an int32 can count.
  const double least = std::abs(bias) / (numbers_.src.scale * kMostStart);
  double scale = static_cast<float>(std::max(largest / kMostWeight, least));
  if (scale == 0) scale = 1;
  int8_t* const integers = integers_.data() + k * size_;
  for (size_t i = 0; i < size_; i++) integers[i] = static_cast<int8_t>(nearest(weights[i] / scale));
  return scale;
}

// Throws CHECKPOINT_INVALID where results could have more steps than the kernels round.
void Int8Weights::check_range(int k, double start, double scale) const {
  int64_t sum = 0;
  for (size_t i = 0; i < size_; i++) sum += std::abs(integers(k)[i]);
  double steps = (std::abs(start) + 255.0 * sum) * scale;
  if (numbers_.residual) steps += 255.0 * numbers_.residual->scale / numbers_.dst.scale;
  if (steps < kMostSteps) return;
  throw core::Error(core::ErrorCode::kCheckpointInvalid,
                    "The scales of channel " + std::to_string(k) +
                        " are too far apart: results could be over 2^31 times the scale of the output.");
}

// What a channel's sum is for an image of nothing but the mean, which is 0 once it is normalised; 0 where the
// source is not an image's bytes.
double Int8Weights::zeros(int k) const {
  if (!numbers_.bytes.mean) return 0;
  const size_t taps = geometry_.taps();
  double sum = 0;
  for (size_t i = 0; i < size_; i++) sum += integers(k)[i] * 255.0 * (*numbers_.bytes.mean)[i / taps];
  return sum;
}

}  // namespace residual::cpu
