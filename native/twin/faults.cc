#include "twin/faults.h"

#include <sstream>

namespace residual::twin {

Faults::Faults(const std::string& text) {
  std::stringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    const size_t colon = part.find(':');
    if (colon != std::string::npos) left_[part.substr(0, colon)] = std::stoi(part.substr(colon + 1));
  }
}

bool Faults::due(const std::string& kind) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = left_.find(kind);
  return found != left_.end() && --found->second == 0;
}

int Faults::left(const std::string& kind) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = left_.find(kind);
  return found == left_.end() ? 0 : found->second;
}

}  // namespace residual::twin
