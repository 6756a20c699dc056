// Ranges of indices, and how work is split into them.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cpu/kernels.h"

namespace residual::cpu {

inline int divide_up(int a, int b) { return (a + b - 1) / b; }

// Where the i-th of `parts` nearly equal parts of [0, count) begins; the last one ends at
// part_begin(count, parts, parts).
inline int part_begin(int count, int parts, int i) { return static_cast<int>(int64_t(count) * i / parts); }

// [begin, end)
struct Range {
  int begin, end;
  int size() const { return end - begin; }
};

// Rows of a matrix product, in blocks of at most `most`, a multiple of kMaxTileRows. Blocks end where
// register tiles do, and there are as many as `workers` can share evenly: with 17 blocks, one of two workers
// would have 9.
class Blocks {
 public:
  Blocks(int rows, int most, int workers)
      : rows_(rows), tiles_(divide_up(rows, kMaxTileRows)), count_(divide_up(rows, most)) {
    if (count_ > workers) count_ = std::min(divide_up(count_, workers) * workers, tiles_);
  }

  int count() const { return count_; }
  Range operator[](int i) const { return {begin(i), begin(i + 1)}; }

 private:
  int begin(int i) const { return std::min(part_begin(tiles_, count_, i) * kMaxTileRows, rows_); }

  int rows_, tiles_, count_;
};

}  // namespace residual::cpu
