// The windows of a max pool, for numbers of any type.
#pragma once

#include <algorithm>

#include "cpu/light_ops.h"
#include "cpu/ranges.h"

namespace residual::cpu {

// Calls maximum(to, taps, count, channels) for each window: the pixels under it that are inside the image.
template <typename Number, typename Maximum>
void pool_rows(const LightOp& light, ThreadPool& pool, Workspace& workspace, const Maximum& maximum) {
  constexpr int kTasksPerThread = 4;
  const core::Op& op = light.op;
  const core::Shape &src_shape = light.plan.src(op), &dst_shape = light.plan.dst(op);
  Number* const dst = static_cast<Number*>(light.dst);
  const Number* const src = static_cast<const Number*>(light.operands[0]);
  const int channels = src_shape.channels;
  const auto row = [&](int n, int y, const Number** taps) {
    const int top = y * op.stride - op.padding;
    Number* to = dst + (size_t(n) * dst_shape.height + y) * dst_shape.width * channels;
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
      maximum(to, taps, count, channels);
    }
  };
  const int rows = light.batch * dst_shape.height, tasks = std::min(rows, pool.threads() * kTasksPerThread);
  pool.run(tasks, [&](int task, int worker) {
    const auto taps = static_cast<const Number**>(workspace.of(worker));
    for (int i = part_begin(rows, tasks, task); i < part_begin(rows, tasks, task + 1); i++)
      row(i / dst_shape.height, i % dst_shape.height, taps);
  });
}

}  // namespace residual::cpu
