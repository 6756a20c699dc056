#include "cpu/dot_conv.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/error.h"
#include "cpu/bf16.h"

namespace residual::cpu {
namespace {

constexpr int kTasksPerThread = 4;
constexpr double kMostWeight = 127;          // of int8; -128 would make a sum of s8 products too large
constexpr double kMostStart = 1 << 30;       // of an int32 that sums start from: half of what there is
constexpr double kMostSteps = 2147483000.0;  // of a result before it is clamped: an int32 holds them

int number_bytes(const core::Value& value) { return static_cast<int>(core::row_of(value.precision).bytes); }

bool is_int8(const core::Value& value) {
  return value.precision == core::Precision::kInt8 || value.precision == core::Precision::kUint8;
}

DotType type_of(const core::Value& value) {
  switch (value.precision) {
    case core::Precision::kInt8:
      return DotType::kInt8;
    case core::Precision::kUint8:
      return DotType::kUint8;
    case core::Precision::kBf16:
      return DotType::kBf16;
    default:
      return DotType::kFp32;
  }
}

int round_up(int a, int b) { return divide_up(a, b) * b; }

// Padding reads the byte nearest to the mean, which is 0 once it is normalised.
DotRows::PaddingPixel padding_pixel(const DotNumbers& numbers) {
  DotRows::PaddingPixel pixel;
  if (numbers.bytes.mean)
    for (const float mean : *numbers.bytes.mean)
      pixel.push_back(static_cast<uint8_t>(std::clamp(std::nearbyint(255.0 * mean), 0.0, 255.0)));
  return pixel;
}

// Groups to compute together: as many as fill a tap's unit of inputs, or a panel of outputs.
int merged_groups(const ConvGeometry& g, int bytes, const DotKernels& kernels) {
  if (g.groups == 1) return 1;
  const int by_inputs = kernels.unit / (g.group_inputs() * bytes);
  const int by_outputs = kPanelColumns / g.group_outputs();
  return std::clamp(std::max(by_inputs, by_outputs), 1, g.groups);
}

// What a copied pixel needs: every strip reads whole units.
size_t pixel_bytes(const ConvGeometry& g, int bytes, const DotKernels& kernels) {
  const int merged = merged_groups(g, bytes, kernels), strip = merged * g.group_inputs() * bytes;
  const int last = (divide_up(g.groups, merged) - 1) * strip;
  return std::max(g.src.channels * bytes, last + round_up(strip, kernels.unit));
}

}  // namespace

DotConv::DotConv(const ConvGeometry& geometry, const DotNumbers& numbers, const DotKernels& kernels,
                 core::StoredWeights& weights, const float* bias, PageArena& arena)
    : geometry_(geometry),
      numbers_(numbers),
      kernels_(kernels),
      rows_(geometry, kernels, number_bytes(numbers.src),
            pixel_bytes(geometry, number_bytes(numbers.src), kernels), padding_pixel(numbers)) {
  plan_strips();
  size_t bytes = 0;
  for (Strip& strip : strips_) {
    strip.weight = bytes;
    bytes += strip.panels() * panel_bytes(strip);
  }
  weight_ = AlignedBuffer(bytes / sizeof(float), arena);
  start_ = AlignedBuffer(size_t(panels_) * kPanelColumns, arena);
  scale_ = AlignedBuffer(size_t(panels_) * kPanelColumns, arena);
  for (AlignedBuffer* buffer : {&weight_, &start_, &scale_}) std::memset(buffer->data(), 0, buffer->bytes());
  pack(weights, bias);
}

void DotConv::plan_strips() {
  const ConvGeometry& g = geometry_;
  const int bytes = number_bytes(numbers_.src), merged = merged_groups(g, bytes, kernels_);
  for (int group = 0; group < g.groups; group += merged) {
    const int groups = std::min(merged, g.groups - group);
    Strip strip = {};
    strip.input = group * g.group_inputs();
    strip.inputs = groups * g.group_inputs();
    strip.output = group * g.group_outputs();
    strip.outputs = groups * g.group_outputs();
    const bool by_rows = DotRows::takes_kernel_rows(g, bytes);
    const int numbers = by_rows ? rows_.kernel_row_numbers() : strip.inputs;
    strip.depth = round_up(numbers * bytes, kernels_.unit);
    strip.first_panel = panels_;
    panels_ += strip.panels();
    strips_.push_back(strip);
  }
}

size_t DotConv::panel_bytes(const Strip& strip) const {
  return size_t(rows_.taps()) * strip.depth / 4 * kPanelRow;
}

void DotConv::pack(core::StoredWeights& weights, const float* bias) {
  for (const Strip& strip : strips_)
    if (is_int8(numbers_.src))
      pack_int8(strip, weights, bias);
    else
      pack_bf16(strip, weights, bias);
}

// Puts the weights of output channel `k`, [C/groups][R*S], where the kernels read them.
template <typename Number>
void DotConv::place(const Strip& strip, int k, const Number* channel) {
  constexpr int kNumbers = 4 / sizeof(Number);  // of a dword
  const ConvGeometry& g = geometry_;
  const int column = k - strip.output;
  const int first = k / g.group_outputs() * g.group_inputs() - strip.input;  // input of this one's group
  Number* const panel =
      reinterpret_cast<Number*>(reinterpret_cast<std::byte*>(weight_.data()) + strip.weight +
                                column / kPanelColumns * panel_bytes(strip)) +
      column % kPanelColumns * kNumbers;
  const size_t tap_numbers = size_t(strip.depth) / 4 * kPanelColumns * kNumbers;
  for (int r = 0; r < g.kernel; r++)
    for (int s = 0; s < g.kernel; s++) {
      const Number* from = channel + r * g.kernel + s;
      const DotRows::Place place = rows_.place(r, s, first);
      Number* const tap = panel + place.tap * tap_numbers;
      for (int c = 0; c < g.group_inputs(); c++, from += g.taps()) {
        const int index = place.index + c;
        tap[index / kNumbers * kPanelColumns * kNumbers + index % kNumbers] = *from;
      }
    }
}

void DotConv::pack_bf16(const Strip& strip, core::StoredWeights& weights, const float* bias) {
  const size_t size = weights.shape().inputs * weights.shape().taps;
  std::vector<float> folded(kPanelColumns * size);
  std::vector<uint16_t> rounded(size);
  float* const start = start_.data() + strip.first_panel * kPanelColumns;
  for (int first = 0; first < strip.outputs; first += kPanelColumns) {
    const int count = std::min(kPanelColumns, strip.outputs - first);
    weights.fold(folded.data(), strip.output + first, count, 0, size);
    for (int i = 0; i < count; i++) {
      std::transform(folded.data() + i * size, folded.data() + (i + 1) * size, rounded.data(), to_bf16);
      place(strip, strip.output + first + i, rounded.data());
      start[first + i] = bias[strip.output + first + i];
    }
  }
}

void DotConv::pack_int8(const Strip& strip, core::StoredWeights& weights, const float* bias) {
  const size_t size = weights.shape().inputs * weights.shape().taps;
  std::vector<float> folded(size);
  std::vector<int8_t> integers(kPanelColumns * size);
  for (int first = 0; first < strip.outputs; first += kPanelColumns) {
    const int count = std::min(kPanelColumns, strip.outputs - first);
    if (weights.is_quantised()) weights.integers(integers.data(), strip.output + first, count);
    for (int i = 0; i < count; i++) {
      const int k = strip.output + first + i;
      int8_t* const channel = integers.data() + i * size;
      const double source = numbers_.src.scale;
      double scale = weights.is_quantised() ? weights.scale(k) : 0;
      if (scale == 0 || std::abs(bias[k]) > source * scale * kMostStart) {
        weights.fold(folded.data(), k, 1, 0, size);
        scale = round_weights(folded.data(), channel, bias[k]);
      }
      place(strip, k, channel);
      const int column = strip.first_panel * kPanelColumns + first + i;
      const double start = std::nearbyint(bias[k] / (source * scale) - zeros(channel));
      reinterpret_cast<int32_t*>(start_.data())[column] =
          static_cast<int32_t>(std::clamp(start, -kMostStart, kMostStart));
      scale_.data()[column] = static_cast<float>(source * scale / numbers_.dst.scale);
      check_range(k, channel, start, scale_.data()[column]);
    }
  }
}

// Rounds the weights of one output channel, [C/groups][R*S], to int8, and returns what their steps stand for.
// Where the source is an image's bytes the normalisation goes into them.
double DotConv::round_weights(float* weights, int8_t* integers, double bias) const {
  const int taps = geometry_.taps(), count = geometry_.group_inputs() * taps;
  double largest = 0;
  for (int i = 0; i < count; i++) {
    if (numbers_.bytes.std)
      weights[i] = static_cast<float>(weights[i] / (255.0 * (*numbers_.bytes.std)[i / taps]));
    largest = std::max(largest, std::abs(double(weights[i])));
  }
  // Where a bias is that much larger than the weights, the steps are such as an int32 can count.
  const double least = std::abs(bias) / (numbers_.src.scale * kMostStart);
  double scale = static_cast<float>(std::max(largest / kMostWeight, least));
  if (scale == 0) scale = 1;
  for (int i = 0; i < count; i++) integers[i] = static_cast<int8_t>(std::nearbyint(weights[i] / scale));
  return scale;
}

// Throws CHECKPOINT_INVALID where results could have more steps than the kernels round.
void DotConv::check_range(int k, const int8_t* integers, double start, double scale) const {
  double largest = std::abs(start);
  for (int i = 0; i < geometry_.group_inputs() * geometry_.taps(); i++)
    largest += 255.0 * std::abs(integers[i]);
  double steps = largest * scale;
  if (numbers_.residual) steps += 255.0 * numbers_.residual->scale / numbers_.dst.scale;
  if (steps < kMostSteps) return;
  throw core::Error(core::ErrorCode::kCheckpointInvalid,
                    "The scales of channel " + std::to_string(k) +
                        " are too far apart: results could be over 2^31 times the scale of the output.");
}

// What a channel's sum is for an image of nothing but the mean, which is 0 once it is normalised; 0 where the
// source is not an image's bytes.
double DotConv::zeros(const int8_t* integers) const {
  if (!numbers_.bytes.mean) return 0;
  const int taps = geometry_.taps();
  double sum = 0;
  for (int i = 0; i < geometry_.group_inputs() * taps; i++)
    sum += integers[i] * 255.0 * (*numbers_.bytes.mean)[i / taps];
  return sum;
}

WorkspaceSize DotConv::workspace_size(int /*batch*/, int /*threads*/) const {
  return {/*shared=*/0, /*per_worker=*/rows_.scratch_bytes()};
}

DotOutput DotConv::output(void* dst, const void* residual) const {
  DotOutput output = {};
  output.dst = dst;
  output.type = type_of(numbers_.dst);
  output.channels = geometry_.dst.channels;
  output.residual = residual;
  if (numbers_.residual) {
    output.residual_type = type_of(*numbers_.residual);
    output.residual_scale = static_cast<float>(double(numbers_.residual->scale) / numbers_.dst.scale);
  }
  output.relu = geometry_.relu;
  output.least = geometry_.relu || output.type == DotType::kUint8 ? 0 : -kMostWeight;
  output.most = output.type == DotType::kUint8 ? 255 : kMostWeight;
  return output;
}

void DotConv::run(void* dst, const void* src, const void* residual, int batch, ThreadPool& pool,
                  Workspace& workspace) const {
  const int wanted = pool.threads() == 1 ? 1 : pool.threads() * kTasksPerThread;
  const int chunks = rows_.chunks(batch, wanted);
  const int splits = std::min(divide_up(wanted, chunks), divide_up(strips_.front().panels(), 2));
  const DotOutput output = this->output(dst, residual);
  pool.run(chunks * splits, [&](int index, int worker) {
    const DotChunk chunk = rows_.chunk(index / splits, chunks, batch);
    const DotChunkRows rows = rows_.arrange(static_cast<const std::byte*>(src), chunk, batch,
                                            static_cast<std::byte*>(workspace.of(worker)));
    for (const Strip& strip : strips_) {
      const int pairs = divide_up(strip.panels(), 2), split = index % splits;
      const int begin = part_begin(pairs, splits, split) * 2;
      const int end = std::min(part_begin(pairs, splits, split + 1) * 2, strip.panels());
      if (begin >= end) continue;
      DotTask task = {};
      task.blocks = rows.blocks;
      task.block_count = rows.block_count;
      task.runs = rows.runs;
      task.row_stride = rows.row_stride;
      task.taps = rows.taps;
      task.tap_count = rows_.taps();
      task.source_offset = size_t(strip.input) * number_bytes(numbers_.src);
      task.depth = strip.depth;
      task.is_signed = numbers_.src.precision == core::Precision::kInt8;
      task.weight =
          reinterpret_cast<const std::byte*>(weight_.data()) + strip.weight + begin * panel_bytes(strip);
      const size_t column = size_t(strip.first_panel + begin) * kPanelColumns;
      task.start = start_.data() + column;
      task.scale = scale_.data() + column;
      task.channel = strip.output + begin * kPanelColumns;
      task.columns = std::min(end * kPanelColumns, strip.outputs) - begin * kPanelColumns;
      task.output = output;
      kernels_.run(task);
    }
  });
}

}  // namespace residual::cpu
