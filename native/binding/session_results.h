// What a session hands back: outputs, times and names, as C++ fills them and as JavaScript gets them.
#pragma once

#include <napi.h>

#include <array>
#include <string>
#include <vector>

#include "core/backend.h"

namespace residual::binding {

// The outputs of one run that were asked for.
class OutputValues {
 public:
  // `wanted`: of core::Output, those that the plan has.
  OutputValues(const core::Plan& plan, const std::vector<int>& wanted, int images);

  core::OutputBuffers buffers();
  Napi::Object to_js(Napi::Env env) const;  // a Float32Array by name

 private:
  std::array<std::vector<float>, core::kOutputCount> values_;  // empty where not wanted
};

Napi::Float64Array to_js(Napi::Env env, const std::vector<double>& numbers);
Napi::Float32Array to_js(Napi::Env env, const std::vector<float>& numbers);
Napi::Array to_js(Napi::Env env, const std::vector<core::Observation>& observations);
Napi::Array to_js(Napi::Env env, const std::vector<std::vector<std::string>>& names);

}  // namespace residual::binding
