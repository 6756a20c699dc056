// The configuration of AMX's tiles. In an unnamed namespace, as kernels_impl.h explains.
#pragma once

#include <cstdint>

namespace residual::cpu {
namespace {

// The layout of LDTILECFG's operand (Intel SDM): all eight tiles are 16 rows of 64 bytes.
struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

}  // namespace
}  // namespace residual::cpu
