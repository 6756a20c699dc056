// The on-disk cache of compiled plans: a folder with one file per plan, shared by any number of processes.
#pragma once

#include <optional>
#include <string>

namespace residual::cuda {

// A file is written under a temporary name and then renamed, so readers see all of it or nothing; of two
// writers the last one wins. A file that is damaged, truncated or for another key counts as absent. File
// errors are never thrown: an unreadable or unwritable cache costs time, not the session.
//
// The files hold machine code: whoever can write to the folder decides what runs on the GPU.
class PlanCache {
 public:
  struct Entry {
    std::string json;    // of the plan, by cuDNN
    bool tuned = false;  // timed against the other candidates, not only proposed by heuristics
  };

  // `folder` is created on the first write; empty: nothing is stored.
  explicit PlanCache(std::string folder) : folder_(std::move(folder)) {}

  // `key` names everything a plan depends on: cuDNN's version, the GPU, the convolution.
  std::optional<Entry> read(const std::string& key) const;

  // False if it could not be written (a full disk, a read-only folder).
  bool write(const std::string& key, const Entry& entry) const;

  // The path of a key's entry, whether or not it exists.
  std::string path(const std::string& key) const;

 private:
  std::string folder_;
};

}  // namespace residual::cuda
