#include "cpu/observer.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/error.h"
#include "cpu/reduced_ops.h"

namespace residual::cpu {
namespace {

constexpr int kTasksPerThread = 4;
constexpr size_t kChunkFloats = 4096;  // at least a pixel: what stays in the first cache

constexpr int32_t kMagnitude = 0x7fffffff;
constexpr int32_t kInfinity = 0x7f800000;

int32_t bits_of(float value) {
  int32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

float float_of(int32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// Widens the bins until `largest` has one: by a factor of two each time, so that two become one.
void widen(core::Observation& total, float largest) {
  if (total.bin_width == 0) {
    // A little wider than the first batch asks for, which is rarely the one with the largest number.
    total.bin_width = largest * 1.25f / core::kObservedBins;
    return;
  }
  while (largest >= total.bin_width * core::kObservedBins) {
    for (int i = 0; i < core::kObservedBins / 2; i++)
      total.bins[i] = total.bins[2 * i] + total.bins[2 * i + 1];
    std::fill(total.bins.begin() + core::kObservedBins / 2, total.bins.end(), 0.0);
    total.bin_width *= 2;
  }
}

}  // namespace

Observer::Observer(const core::Plan& plan, ThreadPool& pool)
    : plan_(plan), observations_(plan.ops.size()), workers_(pool.threads()), pool_(pool) {}

// Calls `chunk(worker, floats, pixels)` for the pixels of `data`, some at a time, on all threads.
template <typename Chunk>
void Observer::each_chunk(const core::Value& value, const void* data, Range images, const Chunk& chunk) {
  const int channels = value.channels;
  const size_t pixel_bytes = channels * core::row_of(value.precision).bytes;
  const int pixels = images.size() * value.height * value.width;
  const int step = std::max<int>(1, kChunkFloats / channels);
  const int chunks = divide_up(pixels, step), tasks = std::min(chunks, pool_.threads() * kTasksPerThread);
  pool_.run(tasks, [&](int task, int index) {
    Worker& worker = workers_[index];
    for (int i = part_begin(chunks, tasks, task); i < part_begin(chunks, tasks, task + 1); i++) {
      const int begin = i * step, count = std::min(step, pixels - begin);
      const auto* const first = static_cast<const std::byte*>(data) + size_t(begin) * pixel_bytes;
      if (value.precision == core::Precision::kFp32) {
        chunk(worker, reinterpret_cast<const float*>(first), count);
      } else {
        to_floats(worker.floats.data(), first, value, size_t(count) * channels);
        chunk(worker, worker.floats.data(), count);
      }
    }
  });
}

void Observer::see(int op, const core::Value& value, const void* data, Range images) {
  core::Observation& total = observations_[op];
  add_sums(total, op, value, data, images);
  add_bins(total, value, data, images);
}

void Observer::add_sums(core::Observation& total, int op, const core::Value& value, const void* data,
                        Range images) {
  const int channels = value.channels;
  const size_t chunk_floats = std::max<size_t>(kChunkFloats, channels);
  for (Worker& worker : workers_) {
    worker.floats.resize(chunk_floats);
    worker.indices.resize(chunk_floats);
    worker.sums.resize(channels);
    worker.squares.resize(channels);
    worker.all_sums.assign(channels, 0);
    worker.all_squares.assign(channels, 0);
    worker.maxima.assign(channels, 0);
  }
  each_chunk(value, data, images, [channels](Worker& worker, const float* floats, int pixels) {
    float *const sums = worker.sums.data(), *const squares = worker.squares.data();
    int32_t* const maxima = worker.maxima.data();
    std::fill_n(sums, channels, 0.0f);
    std::fill_n(squares, channels, 0.0f);
    for (int p = 0; p < pixels; p++, floats += channels)
      for (int c = 0; c < channels; c++) {
        sums[c] += floats[c];
        squares[c] += floats[c] * floats[c];
        maxima[c] = std::max(maxima[c], bits_of(floats[c]) & kMagnitude);
      }
    for (int c = 0; c < channels; c++) {
      worker.all_sums[c] += sums[c];
      worker.all_squares[c] += squares[c];
    }
  });

  total.pixels += uint64_t(images.size()) * value.height * value.width;
  total.channel_sums.resize(channels);
  total.channel_squares.resize(channels);
  total.channel_maxima.resize(channels);
  int32_t largest = 0;
  for (const Worker& worker : workers_)
    for (int c = 0; c < channels; c++) {
      total.channel_sums[c] += worker.all_sums[c];
      total.channel_squares[c] += worker.all_squares[c];
      largest = std::max(largest, worker.maxima[c]);
      if (worker.maxima[c] < kInfinity)
        total.channel_maxima[c] = std::max(total.channel_maxima[c], float_of(worker.maxima[c]));
    }
  if (largest >= kInfinity)
    throw core::Error(core::ErrorCode::kNonFinite,
                      "Operation '" + plan_.ops[op].name + "' computed a number that is not finite.");
  if (largest > 0) widen(total, float_of(largest));
}

void Observer::add_bins(core::Observation& total, const core::Value& value, const void* data, Range images) {
  total.bins.resize(core::kObservedBins);
  for (Worker& worker : workers_)
    for (auto& table : worker.bins) table.fill(0);
  const float per_width = total.bin_width > 0 ? 1 / total.bin_width : 0;
  each_chunk(value, data, images, [&](Worker& worker, const float* floats, int pixels) {
    const int count = pixels * value.channels;
    int32_t* const indices = worker.indices.data();
    for (int i = 0; i < count; i++)
      indices[i] = std::min(int32_t(std::fabs(floats[i]) * per_width), core::kObservedBins - 1);
    for (int i = 0; i < count; i++) worker.bins[i & 1][indices[i]]++;
  });
  for (const Worker& worker : workers_)
    for (int i = 0; i < core::kObservedBins; i++)
      total.bins[i] += double(worker.bins[0][i]) + worker.bins[1][i];
}

}  // namespace residual::cpu
