// How many pictures of a batch pass through each operation together, and where is what they become? As many
// as the caches hold: one where pictures are large, more towards the end of the network, where activations
// shrink and there are more weights to read.
#pragma once

#include <functional>
#include <vector>

#include "core/memory_plan.h"
#include "core/plan.h"

namespace residual::cpu {

class Slices {
 public:
  // Consecutive ops, [begin, end), that up to `pictures` pass through together. They collect what the levels
  // before computed for fewer pictures at a time.
  struct Level {
    int begin, end;
    int pictures;
  };
  // Pictures of a batch.
  struct Range {
    int begin, end;
    int size() const { return end - begin; }
  };

  static constexpr int kMostPictures = 64;  // of any level

  Slices() = default;
  // For batches of `batch` pictures and smaller ones, computed by `threads` threads. What is planned for
  // kMostPictures does for all larger ones.
  Slices(const core::Plan& plan, int batch, int threads);

  const std::vector<Level>& levels() const { return levels_; }
  size_t arena_floats() const { return memory_.size; }

  // Calls `run` for every level with the pictures it takes next, until all ops have seen the whole batch.
  void each(int batch, const std::function<void(const Level& level, Range pictures)>& run);

  // Where the first of the pictures being run through `level` is, in floats from the beginning of the arena.
  size_t offset(int value, const Level& level) const;

 private:
  void plan_levels(const core::Plan& plan, int batch, int threads);
  void plan_memory(const core::Plan& plan);
  void run_level(int level, Range pictures, const std::function<void(const Level&, Range)>& run);
  int level_of(int op) const;

  std::vector<Level> levels_;
  std::vector<int> began_;        // by level: first picture of the slice under way
  std::vector<int> room_;         // by value: the level whose slices it holds
  std::vector<size_t> elements_;  // by value: of one picture
  core::MemoryPlan memory_;
};

}  // namespace residual::cpu
