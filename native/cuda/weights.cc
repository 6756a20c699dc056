#include "cuda/weights.h"

#include <cmath>
#include <cstring>

namespace residual::cuda {
namespace {

// Arrays for one upload, each aligned to 256 bytes.
class Upload {
 public:
  template <typename T>
  size_t add(const std::vector<T>& values) {
    const size_t offset = bytes_.size();
    bytes_.resize((offset + values.size() * sizeof(T) + 255) / 256 * 256);
    if (!values.empty()) std::memcpy(bytes_.data() + offset, values.data(), values.size() * sizeof(T));
    return offset;
  }

  DeviceBuffer send(const std::string& name, const std::shared_ptr<Device>& device, Stream& stream) const {
    DeviceBuffer memory(device, bytes_.size(), name);
    const PinnedBuffer staging(device, bytes_.size(), name);
    std::memcpy(staging.data(), bytes_.data(), bytes_.size());
    stream.upload(memory.data(), staging.data(), bytes_.size());
    stream.synchronize();
    return memory;
  }

 private:
  std::vector<std::byte> bytes_;
};

// The tensor cores truncate the last 13 bits: better to round to nearest here.
float round_to_tf32(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  if ((bits & 0x7f800000) != 0x7f800000) bits = (bits + 0x0fff + (bits >> 13 & 1)) & ~0x1fffu;
  std::memcpy(&x, &bits, sizeof bits);
  return x;
}

float power_of_two_above(const float* values, size_t count) {
  float max = 0.0f;
  for (size_t i = 0; i < count; i++) max = std::max(max, std::fabs(values[i]));
  int exponent = 0;
  std::frexp(max, &exponent);
  return std::ldexp(1.0f, exponent);  // max / this is in [0.5, 1), or 0
}

// [K, C, R*S] -> [padded K, R*S, padded C] of T, each output channel divided by its scale.
template <typename T>
std::vector<T> pack(const float* weight, const std::vector<float>& scale, size_t k_count, size_t padded_k,
                    size_t taps, size_t channels, size_t padded_channels, bool tf32) {
  std::vector<T> result(padded_k * taps * padded_channels, from_float<T>(0.0f));
  for (size_t k = 0; k < k_count; k++)
    for (size_t rs = 0; rs < taps; rs++)
      for (size_t c = 0; c < channels; c++) {
        const float value = weight[(k * channels + c) * taps + rs] / (scale.empty() ? 1.0f : scale[k]);
        result[(k * taps + rs) * padded_channels + c] = from_float<T>(tf32 ? round_to_tf32(value) : value);
      }
  return result;
}

std::vector<float> padded(const float* values, size_t count, size_t size, float with) {
  std::vector<float> result(values, values + count);
  result.resize(size, with);
  return result;
}

}  // namespace

OpWeights upload_weights(const core::Plan& plan, const Layout& layout, const core::Op& op,
                         core::StoredWeights& weights, const float* bias,
                         const std::shared_ptr<Device>& device, Stream& stream) {
  const size_t k_count = plan.dst(op).channels, padded_k = layout.value(op.dst).padded;
  const size_t channels = plan.src(op).channels / op.groups, taps = size_t(op.kernel) * op.kernel;
  const size_t weight_channels = layout.weight_channels(op);
  const Precision precision = layout.precision();
  const bool pointwise = layout.method(op) == ConvMethod::kPointwise;

  std::vector<float> folded(weights.shape().count());
  weights.fold(folded.data(), /*first=*/0, k_count, /*begin=*/0, taps * channels);
  const float* const weight = folded.data();
  Upload arrays;
  const size_t bias_at = arrays.add(padded(bias, k_count, padded_k, 0.0f));
  std::vector<float> scale;
  if (precision == Precision::kFp16 && !pointwise)
    for (size_t k = 0; k < k_count; k++)
      scale.push_back(power_of_two_above(weight + k * taps * channels, taps * channels));
  const size_t scale_at = arrays.add(padded(scale.data(), scale.size(), scale.empty() ? 0 : padded_k, 1.0f));

  const auto packed = [&](auto zero) {
    return arrays.add(pack<decltype(zero)>(weight, scale, k_count, padded_k, taps, channels, weight_channels,
                                           precision == Precision::kTf32));
  };
  const size_t weight_at = pointwise ? arrays.add(padded(weight, k_count, padded_k, 0.0f))
                           : precision == Precision::kFp16 ? packed(__half())
                           : precision == Precision::kBf16 ? packed(__nv_bfloat16())
                                                           : packed(float());
  OpWeights result;
  result.memory = arrays.send("the weights of " + op.name, device, stream);
  result.weight = result.memory.data() + weight_at;
  if (!scale.empty()) result.scale = reinterpret_cast<const float*>(result.memory.data() + scale_at);
  result.bias = reinterpret_cast<const float*>(result.memory.data() + bias_at);
  return result;
}

OpWeights upload_normalization(const core::Op& op, const std::shared_ptr<Device>& device, Stream& stream) {
  std::vector<float> scale, shift;
  for (size_t c = 0; c < op.mean.size(); c++) {
    scale.push_back(static_cast<float>(1.0 / (255.0 * op.std[c])));
    shift.push_back(static_cast<float>(-double(op.mean[c]) / op.std[c]));
  }
  Upload arrays;
  const size_t scale_at = arrays.add(scale), shift_at = arrays.add(shift);
  OpWeights result;
  result.memory = arrays.send("the normalisation", device, stream);
  result.scale = reinterpret_cast<const float*>(result.memory.data() + scale_at);
  result.bias = reinterpret_cast<const float*>(result.memory.data() + shift_at);
  return result;
}

}  // namespace residual::cuda
