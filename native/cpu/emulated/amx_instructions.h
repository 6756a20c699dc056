// AMX's instructions in plain C++, under the names of their intrinsics, for the sources that use them: so
// every machine can test what those do (Intel SDM, volume 2).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "cpu/emulated/bf16_products.h"

namespace residual::cpu {
namespace {

constexpr int kTiles = 8, kMostTileRows = 16, kMostTileBytes = 64;

// What a thread has in its tiles. Not configured: no rows.
struct TileState {
  int rows[kTiles] = {}, row_bytes[kTiles] = {};
  uint8_t data[kTiles][kMostTileRows][kMostTileBytes] = {};
};
inline thread_local TileState tile_state;

inline void _tile_loadconfig(const void* config) {
  const auto* const bytes = static_cast<const uint8_t*>(config);
  tile_state = {};
  for (int tile = 0; tile < kTiles; tile++) {
    uint16_t row_bytes;
    std::memcpy(&row_bytes, bytes + 16 + 2 * tile, sizeof row_bytes);
    tile_state.row_bytes[tile] = row_bytes;
    tile_state.rows[tile] = bytes[48 + tile];
  }
}

inline void _tile_release() { tile_state = {}; }

inline void _tile_zero(int tile) { std::memset(tile_state.data[tile], 0, sizeof tile_state.data[tile]); }

inline void _tile_loadd(int tile, const void* from, ptrdiff_t stride) {
  _tile_zero(tile);
  for (int r = 0; r < tile_state.rows[tile]; r++)
    std::memcpy(tile_state.data[tile][r], static_cast<const uint8_t*>(from) + r * stride,
                tile_state.row_bytes[tile]);
}

inline void _tile_stored(int tile, void* to, ptrdiff_t stride) {
  for (int r = 0; r < tile_state.rows[tile]; r++)
    std::memcpy(static_cast<uint8_t*>(to) + r * stride, tile_state.data[tile][r], tile_state.row_bytes[tile]);
}

// Rows `m` of `sums`, dwords `n` of it and of `b`, dwords `k` of `a` and rows of `b`: calls
// add(sum, a's dword, b's dword).
template <typename Sum, typename Add>
inline void for_products(int sums, int a, int b, const Add& add) {
  for (int m = 0; m < tile_state.rows[sums]; m++)
    for (int n = 0; n < tile_state.row_bytes[sums] / 4; n++) {
      Sum sum;
      std::memcpy(&sum, tile_state.data[sums][m] + 4 * n, sizeof sum);
      add(sum, tile_state.data[a][m], tile_state.row_bytes[a] / 4,
          [&](int k) { return tile_state.data[b][k] + 4 * n; });
      std::memcpy(tile_state.data[sums][m] + 4 * n, &sum, sizeof sum);
    }
}

template <typename Source>
inline void add_products_of_bytes(int sums, int a, int b) {
  for_products<int32_t>(sums, a, b, [](int32_t& sum, const uint8_t* row, int dwords, const auto& weights) {
    for (int k = 0; k < dwords; k++)
      for (int i = 0; i < 4; i++)
        sum += static_cast<Source>(row[4 * k + i]) * static_cast<int8_t>(weights(k)[i]);
  });
}

inline void _tile_dpbusd(int sums, int a, int b) { add_products_of_bytes<uint8_t>(sums, a, b); }
inline void _tile_dpbssd(int sums, int a, int b) { add_products_of_bytes<int8_t>(sums, a, b); }

// The products of even and of odd numbers are summed apart.
inline void _tile_dpbf16ps(int sums, int a, int b) {
  for_products<float>(sums, a, b, [](float& sum, const uint8_t* row, int dwords, const auto& weights) {
    float parts[2] = {};
    for (int k = 0; k < dwords; k++)
      for (int i = 0; i < 2; i++) {
        uint16_t x, y;
        std::memcpy(&x, row + 4 * k + 2 * i, sizeof x);
        std::memcpy(&y, weights(k) + 2 * i, sizeof y);
        parts[i] = fused_multiply_add(parts[i], x, y);
      }
    sum = add(sum, add(parts[0], parts[1]));
  });
}

}  // namespace
}  // namespace residual::cpu
