#include "cpu/light_ops.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/error.h"
#include "cpu/pool_rows.h"
#include "cpu/ranges.h"
#include "cpu/reduced_ops.h"

namespace residual::cpu {
namespace {

constexpr int kTasksPerThread = 4;

// dst = (src / 255 - mean) / std
void normalize(const LightOp& light, const Kernels& kernels, ThreadPool& pool) {
  const core::Op& op = light.op;
  const core::Shape& shape = light.plan.dst(op);
  const int channels = shape.channels;
  std::vector<float> scale(channels), shift(channels);
  for (int c = 0; c < channels; c++) {
    scale[c] = static_cast<float>(1.0 / (255.0 * op.std[c]));
    shift[c] = static_cast<float>(-double(op.mean[c]) / op.std[c]);
  }
  pool.run(light.batch, [&](int n, int) {
    const size_t at = n * shape.elements();
    kernels.normalize(light.floats() + at, light.input.bytes + at, scale.data(), shift.data(),
                      shape.elements() / channels, channels);
  });
}

// The maximum over each window; padding never wins.
void max_pool(const LightOp& light, const Kernels& kernels, ThreadPool& pool, Workspace& workspace) {
  pool_rows<float>(light, pool, workspace, kernels.maximum);
}

// The mean over all pixels.
void avg_pool(const LightOp& light, const Kernels& kernels, ThreadPool& pool) {
  const core::Shape& shape = light.plan.src(light.op);
  pool.run(light.batch, [&](int n, int) {
    kernels.mean(light.floats() + size_t(n) * shape.channels, light.src() + n * shape.elements(),
                 shape.height * shape.width, shape.channels);
  });
}

// exp(x) over its sum, the largest subtracted first. Per pixel in double: a pixel is short.
void softmax(const LightOp& light) {
  const core::Shape& shape = light.plan.src(light.op);
  const int channels = shape.channels, pixels = light.batch * shape.height * shape.width;
  float* dst = light.floats();
  const float* src = light.src();
  for (int p = 0; p < pixels; p++, dst += channels, src += channels) {
    const double largest = *std::max_element(src, src + channels);
    double sum = 0;
    for (int c = 0; c < channels; c++) sum += std::exp(src[c] - largest);
    for (int c = 0; c < channels; c++) dst[c] = static_cast<float>(std::exp(src[c] - largest) / sum);
  }
}

// 1 / (1 + exp(-x)), in double.
void sigmoid(const LightOp& light) {
  const size_t count = light.batch * light.plan.src(light.op).elements();
  for (size_t i = 0; i < count; i++)
    light.floats()[i] = static_cast<float>(1 / (1 + std::exp(-double(light.src()[i]))));
}

// dst = src * gate; a task takes some rows of pixels.
void channel_gate(const LightOp& light, ThreadPool& pool) {
  const core::Shape& shape = light.plan.dst(light.op);
  const float* const gate = light.src(1);  // [N,C]
  const int channels = shape.channels, row_floats = shape.width * channels;
  const int rows = light.batch * shape.height, tasks = std::min(rows, pool.threads() * kTasksPerThread);
  pool.run(tasks, [&](int task, int) {
    for (int row = part_begin(rows, tasks, task); row < part_begin(rows, tasks, task + 1); row++) {
      const float* const factors = gate + size_t(row / shape.height) * channels;
      const float* src = light.src() + size_t(row) * row_floats;
      float* dst = light.floats() + size_t(row) * row_floats;
      for (int x = 0; x < shape.width; x++, src += channels, dst += channels)
        for (int c = 0; c < channels; c++) dst[c] = src[c] * factors[c];
    }
  });
}

}  // namespace

void run_light_op(const LightOp& light, const Kernels& kernels, ThreadPool& pool, Workspace& workspace) {
  if (is_reduced(light)) return run_reduced_op(light, kernels, pool, workspace);
  switch (light.op.kind) {
    case core::OpKind::kNormalize:
      return normalize(light, kernels, pool);
    case core::OpKind::kMaxPool:
      return max_pool(light, kernels, pool, workspace);
    case core::OpKind::kGlobalAvgPool:
      return avg_pool(light, kernels, pool);
    case core::OpKind::kSoftmax:
      return softmax(light);
    case core::OpKind::kSigmoid:
      return sigmoid(light);
    case core::OpKind::kChannelGate:
      return channel_gate(light, pool);
    case core::OpKind::kConv:
    case core::OpKind::kLinear:
    case core::OpKind::kConvert:
      break;
  }
  throw core::Error(core::ErrorCode::kInternal,
                    "'" + light.op.name + "' is not an operation without weights.");
}

WorkspaceSize light_op_workspace(const core::Op& op) {
  if (op.kind != core::OpKind::kMaxPool) return {};
  return {/*shared=*/0,
          /*per_worker=*/size_t(op.kernel) * op.kernel * sizeof(void*)};  // pointers to its taps
}

}  // namespace residual::cpu
