// Statistics of every operation's results: sums and maxima per channel, a histogram of magnitudes.
#pragma once

#include <array>
#include <vector>

#include "core/observation.h"
#include "cpu/thread_pool.h"
#include "cpu/watcher.h"

namespace residual::cpu {

// Adds up what it sees, over any number of batches.
class Observer final : public Watcher {
 public:
  // Both outlive it.
  Observer(const core::Plan& plan, ThreadPool& pool);

  // Throws NON_FINITE.
  void see(int op, const core::Value& value, const void* data, Range images) override;

  // By operation.
  const std::vector<core::Observation>& observations() const { return observations_; }

 private:
  // One worker's share of what is seen at once.
  struct Worker {
    std::vector<float> floats;                  // of numbers that are kept otherwise
    std::vector<float> sums, squares;           // [C], of a few pixels
    std::vector<double> all_sums, all_squares;  // [C]
    std::vector<int32_t> maxima;   // [C], the bits of magnitudes, which sort as the magnitudes do
    std::vector<int32_t> indices;  // of bins
    // Numbers are counted in turn in two tables: equal ones follow each other, and to increment a counter
    // twice in a row is to wait for the first.
    std::array<std::array<uint32_t, core::kObservedBins>, 2> bins;
  };

  template <typename Chunk>
  void each_chunk(const core::Value& value, const void* data, Range images, const Chunk& chunk);
  void add_sums(core::Observation& total, int op, const core::Value& value, const void* data, Range images);
  void add_bins(core::Observation& total, const core::Value& value, const void* data, Range images);

  const core::Plan& plan_;
  std::vector<core::Observation> observations_;  // by op
  std::vector<Worker> workers_;
  ThreadPool& pool_;
};

}  // namespace residual::cpu
