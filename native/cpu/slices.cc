#include "cpu/slices.h"

#include <algorithm>
#include <numeric>

#include "cpu/aligned_buffer.h"

namespace residual::cpu {
namespace {

// What an op reads and writes for the images of a slice, per thread. With more, values would leave the
// caches; with less, weights are read more often and small images leave register tiles half empty.
constexpr size_t kSliceBytes = size_t(8) << 20;

int wanted_images(const core::Plan& plan, const core::Op& op, int threads) {
  const size_t bytes = core::activation_bytes(plan, op);
  int images = Slices::kMostImages;
  while (images > 1 && images * bytes > kSliceBytes * threads) images /= 2;
  return images;
}

// Whether an op may write its result where its residual lies, if that is not needed any more: the residual of
// 1x1 convolutions with many outputs is most of what they read, and their result would be read from beyond
// the caches before it is written.
bool overwrites_residual(const core::Plan& plan, const core::Op& op) {
  if (op.residual == core::kNone || op.residual == op.src) return false;
  if (plan.src(op).precision == core::Precision::kFp32) return false;
  return plan.values[op.residual].bytes() == plan.dst(op).bytes();
}

}  // namespace

Slices::Slices(const core::Plan& plan, int batch, int threads) {
  plan_levels(plan, batch, threads);
  plan_memory(plan);
}

void Slices::plan_levels(const core::Plan& plan, int batch, int threads) {
  const int ops = static_cast<int>(plan.ops.size());
  std::vector<int> images(ops);
  for (int i = ops - 1; i >= 0; i--) {  // no fewer than any earlier op
    images[i] = std::min(wanted_images(plan, plan.ops[i], threads), batch);
    if (i + 1 < ops) images[i] = std::min(images[i], images[i + 1]);
  }
  for (int i = 0; i < ops; i++) {
    if (i == 0 || images[i] != images[i - 1]) levels_.push_back({i, i, images[i]});
    levels_.back().end = i + 1;
  }
  began_.assign(levels_.size(), 0);
}

int Slices::level_of(int op) const {
  int level = 0;
  while (op >= levels_[level].end) level++;
  return level;
}

// A value that a later level reads has room for that level's slices, and outlives all ops that run repeatedly
// to fill it. Outputs stay until their level is done.
void Slices::plan_memory(const core::Plan& plan) {
  const int values = static_cast<int>(plan.values.size());
  std::vector<core::Lifetime> lives(values);
  room_.assign(values, 0);
  for (int i = 0; i < static_cast<int>(plan.ops.size()); i++) {
    const core::Op& op = plan.ops[i];
    const int level = level_of(i);
    lives[op.dst] = {i, i};
    room_[op.dst] = level;
    for (const int read : core::Reads(op)) {
      lives[read].end = i;
      if (room_[read] == level) continue;
      room_[read] = level;
      lives[read].begin = 0;
    }
  }
  for (int i = 0; i < static_cast<int>(plan.ops.size()); i++)
    if (std::count(plan.outputs.begin(), plan.outputs.end(), plan.ops[i].dst)) {
      core::Lifetime& life = lives[plan.ops[i].dst];
      life.end = std::max(life.end, levels_[level_of(i)].end);
    }

  const std::vector<core::Lifetime> own = lives;
  std::vector<int> place(values);  // the value in whose memory it is written
  std::iota(place.begin(), place.end(), 0);
  for (int i = 0; i < static_cast<int>(plan.ops.size()); i++) {
    const core::Op& op = plan.ops[i];
    if (!overwrites_residual(plan, op) || room_[op.residual] != room_[op.dst] || own[op.residual].end != i)
      continue;
    const int value = place[op.dst] = place[op.residual];
    lives[value].end = lives[op.dst].end;
    lives[op.dst] = {};
  }

  std::vector<size_t> sizes;
  for (int value = 0; value < values; value++) {
    bytes_.push_back(plan.values[value].bytes());
    sizes.push_back(bytes_[value] * levels_[room_[value]].images);
  }
  memory_ = core::plan_memory(lives, sizes, kAlignment);
  for (int value = 0; value < values; value++) memory_.offsets[value] = memory_.offsets[place[value]];
}

void Slices::each(int batch, const std::function<void(const Level&, Range)>& run) {
  const int last = static_cast<int>(levels_.size()) - 1;
  const int slices = divide_up(batch, levels_[last].images);
  for (int i = 0; i < slices; i++)
    run_level(last, {part_begin(batch, slices, i), part_begin(batch, slices, i + 1)}, run);
}

void Slices::run_level(int level, Range images, const std::function<void(const Level&, Range)>& run) {
  began_[level] = images.begin;
  if (level > 0) {
    const int slices = divide_up(images.size(), levels_[level - 1].images);
    for (int i = 0; i < slices; i++)
      run_level(level - 1,
                {images.begin + part_begin(images.size(), slices, i),
                 images.begin + part_begin(images.size(), slices, i + 1)},
                run);
  }
  run(levels_[level], images);
}

size_t Slices::offset(int value, const Level& level) const {
  const int mine = static_cast<int>(&level - levels_.data());
  return memory_.offsets[value] + size_t(began_[mine] - began_[room_[value]]) * bytes_[value];
}

}  // namespace residual::cpu
