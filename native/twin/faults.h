// Planned faults: which calls fail, and when.
#pragma once

#include <map>
#include <mutex>
#include <string>

namespace residual::twin {

// Counts calls of each kind down to the one that must fail.
class Faults {
 public:
  // "kind:N", separated by commas: the N-th call of that kind fails.
  explicit Faults(const std::string& text);

  // Counts a call; true if it must fail.
  bool due(const std::string& kind);

  // Calls left until the failing one; 0 if none fails.
  int left(const std::string& kind) const;

 private:
  mutable std::mutex mutex_;
  std::map<std::string, int> left_;
};

}  // namespace residual::twin
