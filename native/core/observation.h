// What was seen of an operation's results: enough to choose a range for them and to correct means.
#pragma once

#include <cstdint>
#include <vector>

namespace residual::core {

constexpr int kObservedBins = 4096;

// Of all numbers that an operation wrote while it was observed, as float32 whatever they are kept as.
struct Observation {
  uint64_t pixels = 0;                  // of C numbers each
  std::vector<double> channel_sums;     // [C]
  std::vector<double> channel_squares;  // [C], sums of squares
  std::vector<float> channel_maxima;    // [C], of magnitudes

  // bins[i] counts the magnitudes in [i, i + 1) * bin_width. None is larger.
  float bin_width = 0;
  std::vector<double> bins;  // [kObservedBins]
};

}  // namespace residual::core
