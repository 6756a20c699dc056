// A JSON reader with one value type; enough for what cuDNN writes, which is the only JSON the twin sees.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace residual::twin {

struct Json {
  enum class Kind { kNull, kBoolean, kNumber, kString, kArray, kObject };
  Kind kind = Kind::kNull;
  bool boolean = false;
  double number = 0.0;
  std::string string;
  std::vector<Json> array;
  std::map<std::string, Json> object;

  // Throws core::Error INTERNAL for what is not JSON.
  static Json parse(const std::string& text);

  // Each throws core::Error INTERNAL if the value is missing or of another kind.
  const Json& at(const std::string& name) const;
  int64_t integer() const;
  const std::string& text() const;
  std::vector<int64_t> integers() const;
  bool has(const std::string& name) const { return object.count(name) > 0; }
};

}  // namespace residual::twin
