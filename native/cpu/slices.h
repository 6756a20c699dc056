// How many images of a batch pass through each operation together, and where their values live. As many as
// the caches hold: one where images are large, more towards the end of the network, where activations shrink
// and there are more weights to read.
#pragma once

#include <functional>
#include <vector>

#include "core/memory_plan.h"
#include "core/plan.h"
#include "cpu/ranges.h"

namespace residual::cpu {

class Slices {
 public:
  // Consecutive ops, [begin, end), that up to `images` images pass through together. A level collects what
  // earlier levels computed for fewer images at a time.
  struct Level {
    int begin, end;
    int images;
  };

  static constexpr int kMostImages = 64;  // of any level

  Slices() = default;
  // For batches of up to `batch` images, computed by `threads` threads. A plan for kMostImages serves all
  // larger batches.
  Slices(const core::Plan& plan, int batch, int threads);

  const std::vector<Level>& levels() const { return levels_; }
  size_t arena_bytes() const { return memory_.size; }

  // Calls `run` for every level with its next images, until all ops have seen the whole batch.
  void each(int batch, const std::function<void(const Level& level, Range images)>& run);

  // The offset of the first image now in `level`, in bytes from the beginning of the arena.
  size_t offset(int value, const Level& level) const;

 private:
  void plan_levels(const core::Plan& plan, int batch, int threads);
  void plan_memory(const core::Plan& plan);
  void run_level(int level, Range images, const std::function<void(const Level&, Range)>& run);
  int level_of(int op) const;

  std::vector<Level> levels_;
  std::vector<int> began_;     // by level: first image of the current slice
  std::vector<int> room_;      // by value: the level whose slices it holds
  std::vector<size_t> bytes_;  // by value: of one image
  core::MemoryPlan memory_;
};

}  // namespace residual::cpu
