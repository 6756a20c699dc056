// Planned faults: which calls fail, and when.
#pragma once

#include <map>
#include <mutex>
#include <string>

namespace residual::twin {

// Counts the calls of each kind down to the one that is to fail.
class Faults {
 public:
  // "kind:N", several with commas: the N-th call of that kind.
  explicit Faults(const std::string& text);

  // Counts a call; true if it is the one.
  bool due(const std::string& kind);

  // How many calls are left; 0 if none is to fail.
  int left(const std::string& kind) const;

 private:
  mutable std::mutex mutex_;
  std::map<std::string, int> left_;
};

}  // namespace residual::twin
