// The multiply-adds of AMX: four sums of tiles, enough to hide the latency of one, from two tiles and two.
#if defined(__x86_64__)
#include <immintrin.h>

#include "cpu/peak.h"
#include "cpu/tile_config.h"

namespace residual::cpu {
namespace {

constexpr int kSums = 4;
constexpr int kRows = 16, kRowBytes = 64;  // of a tile

void begin() {
  static constexpr TileConfig kConfig;
  alignas(64) uint8_t ones[kRows * kRowBytes];
  __builtin_memset(ones, 1, sizeof ones);
  _tile_loadconfig(&kConfig);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_loadd(4, ones, kRowBytes);
  _tile_loadd(5, ones, kRowBytes);
  _tile_loadd(6, ones, kRowBytes);
  _tile_loadd(7, ones, kRowBytes);
}

int32_t end() {
  alignas(64) int32_t sums[kRows * kRowBytes / 4];
  int32_t total = 0;
  _tile_stored(0, sums, kRowBytes);
  total ^= sums[0];
  _tile_stored(1, sums, kRowBytes);
  total ^= sums[0];
  _tile_stored(2, sums, kRowBytes);
  total ^= sums[0];
  _tile_stored(3, sums, kRowBytes);
  _tile_release();
  return total ^ sums[0];
}

int32_t int8_rounds(size_t rounds) {
  begin();
  for (size_t round = 0; round < rounds; round++) {
    _tile_dpbusd(0, 4, 6);
    _tile_dpbusd(1, 4, 7);
    _tile_dpbusd(2, 5, 6);
    _tile_dpbusd(3, 5, 7);
  }
  return end();
}

int32_t bf16_rounds(size_t rounds) {
  begin();
  for (size_t round = 0; round < rounds; round++) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  return end();
}

constexpr double kMultiplyAdds = double(kSums) * kRows * kRows * kRowBytes;  // of bytes

}  // namespace
const PeakLoops kAmxPeaks = {"amx", {int8_rounds, kMultiplyAdds}, {bf16_rounds, kMultiplyAdds / 2}};
}  // namespace residual::cpu
#endif
