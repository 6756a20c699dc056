#include "cpu/light_ops.h"

#include <algorithm>
#include <cmath>

#include "cpu/ranges.h"

namespace residual::cpu {
namespace {

constexpr int kTasksPerThread = 4;

}  // namespace

void normalize(float* dst, const uint8_t* src, const core::Op& op, const core::Shape& shape, int batch,
               const Kernels& kernels, ThreadPool& pool) {
  const int channels = shape.channels;
  std::vector<float> scale(channels), shift(channels);
  for (int c = 0; c < channels; c++) {
    scale[c] = static_cast<float>(1.0 / (255.0 * op.std[c]));
    shift[c] = static_cast<float>(-double(op.mean[c]) / op.std[c]);
  }
  pool.run(batch, [&](int n, int) {
    const size_t at = n * shape.elements();
    kernels.normalize(dst + at, src + at, scale.data(), shift.data(), shape.elements() / channels, channels);
  });
}

void max_pool(float* dst, const float* src, const core::Op& op, const core::Shape& dst_shape,
              const core::Shape& src_shape, int batch, const Kernels& kernels, ThreadPool& pool,
              Workspace& workspace) {
  const int channels = src_shape.channels;
  const auto row = [&](int n, int y, const float** taps) {
    const int top = y * op.stride - op.padding;
    float* to = dst + (size_t(n) * dst_shape.height + y) * dst_shape.width * channels;
    int count = 0;
    bool was_inside = false;  // the previous window, from left to right
    for (int x = 0; x < dst_shape.width; x++, to += channels) {
      const int left = x * op.stride - op.padding;
      const bool inside = left >= 0 && left + op.kernel <= src_shape.width;
      if (inside && was_inside) {
        for (int i = 0; i < count; i++) taps[i] += op.stride * channels;
      } else {
        count = 0;
        for (int r = std::max(top, 0); r < std::min(top + op.kernel, src_shape.height); r++)
          for (int s = std::max(left, 0); s < std::min(left + op.kernel, src_shape.width); s++)
            taps[count++] = src + ((size_t(n) * src_shape.height + r) * src_shape.width + s) * channels;
      }
      was_inside = inside;
      kernels.maximum(to, taps, count, channels);
    }
  };
  const int rows = batch * dst_shape.height, tasks = std::min(rows, pool.threads() * kTasksPerThread);
  pool.run(tasks, [&](int task, int worker) {
    const auto taps = static_cast<const float**>(workspace.of(worker));
    for (int i = part_begin(rows, tasks, task); i < part_begin(rows, tasks, task + 1); i++)
      row(i / dst_shape.height, i % dst_shape.height, taps);
  });
}

void avg_pool(float* dst, const float* src, const core::Shape& shape, int batch, const Kernels& kernels,
              ThreadPool& pool) {
  pool.run(batch, [&](int n, int) {
    kernels.mean(dst + size_t(n) * shape.channels, src + n * shape.elements(), shape.height * shape.width,
                 shape.channels);
  });
}

void softmax(float* dst, const float* src, int channels, int batch) {
  for (int n = 0; n < batch; n++, dst += channels, src += channels) {
    const double largest = *std::max_element(src, src + channels);
    double sum = 0;
    for (int c = 0; c < channels; c++) sum += std::exp(src[c] - largest);
    for (int c = 0; c < channels; c++) dst[c] = static_cast<float>(std::exp(src[c] - largest) / sum);
  }
}

void sigmoid(float* dst, const float* src, size_t count) {
  for (size_t i = 0; i < count; i++) dst[i] = static_cast<float>(1 / (1 + std::exp(-double(src[i]))));
}

}  // namespace residual::cpu
