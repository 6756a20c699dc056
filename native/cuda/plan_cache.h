// The on-disk cache of compiled plans: a folder with one file per plan, shared by any number of processes.
#pragma once

#include <optional>
#include <string>

namespace residual::cuda {

// A file is written under a name of its own and then renamed, so readers see all of it or nothing; of two
// writers the last one stays. What is damaged, cut off or made for another key is as good as absent. Nothing
// here throws for what goes wrong with files: a cache that cannot be read or written costs time, not the
// session.
//
// The files hold machine code: whoever can write to the folder decides what runs on the GPU.
class PlanCache {
 public:
  struct Entry {
    std::string json;    // of the plan, by cuDNN
    bool tuned = false;  // timed against the other candidates, not only proposed by heuristics
  };

  // `folder` is made when something is first written; empty: nothing is kept.
  explicit PlanCache(std::string folder) : folder_(std::move(folder)) {}

  // `key` says all that decides what a plan does: cuDNN's version, the GPU, the convolution.
  std::optional<Entry> read(const std::string& key) const;

  // False where it could not be written (a full disk, a folder that may not be written to).
  bool write(const std::string& key, const Entry& entry) const;

  // Where the entry of a key is, whether it is there or not.
  std::string path(const std::string& key) const;

 private:
  std::string folder_;
};

}  // namespace residual::cuda
