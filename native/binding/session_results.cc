#include "binding/session_results.h"

#include <algorithm>
#include <cstring>

namespace residual::binding {

OutputValues::OutputValues(const core::Plan& plan, const std::vector<int>& wanted, int images) {
  for (const int output : wanted)
    values_[output].resize(plan.values[plan.outputs[output]].elements() * images);
}

core::OutputBuffers OutputValues::buffers() {
  core::OutputBuffers buffers{};
  for (int i = 0; i < core::kOutputCount; i++)
    if (!values_[i].empty()) buffers[i] = values_[i].data();
  return buffers;
}

Napi::Object OutputValues::to_js(Napi::Env env) const {
  const Napi::Object result = Napi::Object::New(env);
  for (int i = 0; i < core::kOutputCount; i++) {
    if (values_[i].empty()) continue;
    auto array = Napi::Float32Array::New(env, values_[i].size());
    std::memcpy(array.Data(), values_[i].data(), values_[i].size() * sizeof(float));
    result.Set(core::kOutputNames[i], array);
  }
  return result;
}

Napi::Float64Array to_js(Napi::Env env, const std::vector<double>& numbers) {
  auto array = Napi::Float64Array::New(env, numbers.size());
  std::copy(numbers.begin(), numbers.end(), array.Data());
  return array;
}

Napi::Float32Array to_js(Napi::Env env, const std::vector<float>& numbers) {
  auto array = Napi::Float32Array::New(env, numbers.size());
  std::copy(numbers.begin(), numbers.end(), array.Data());
  return array;
}

Napi::Array to_js(Napi::Env env, const std::vector<core::Observation>& observations) {
  const Napi::Array result = Napi::Array::New(env, observations.size());
  for (uint32_t i = 0; i < observations.size(); i++) {
    const core::Observation& seen = observations[i];
    const Napi::Object object = Napi::Object::New(env);
    object.Set("pixels", double(seen.pixels));
    object.Set("channelSums", to_js(env, seen.channel_sums));
    object.Set("channelSquares", to_js(env, seen.channel_squares));
    object.Set("channelMaxima", to_js(env, seen.channel_maxima));
    object.Set("binWidth", double(seen.bin_width));
    object.Set("bins", to_js(env, seen.bins));
    result.Set(i, object);
  }
  return result;
}

Napi::Array to_js(Napi::Env env, const std::vector<std::vector<std::string>>& names) {
  const Napi::Array result = Napi::Array::New(env, names.size());
  for (uint32_t i = 0; i < names.size(); i++) {
    const Napi::Array list = Napi::Array::New(env, names[i].size());
    for (uint32_t j = 0; j < names[i].size(); j++) list.Set(j, names[i][j]);
    result.Set(i, list);
  }
  return result;
}

}  // namespace residual::binding
