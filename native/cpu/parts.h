// How is work cut into parts?
#pragma once

#include <cstdint>

namespace residual::cpu {

inline int divide_up(int a, int b) { return (a + b - 1) / b; }

// Where the i-th of `parts` nearly equal parts of [0, count) begins; the last one ends at part(count, parts,
// parts).
inline int part(int count, int parts, int i) { return static_cast<int>(int64_t(count) * i / parts); }

}  // namespace residual::cpu
