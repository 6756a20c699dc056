// The plan's lighter operations on the CPU: everything but convolutions and linear layers.
#pragma once

#include "core/plan.h"
#include "cpu/kernels.h"
#include "cpu/thread_pool.h"
#include "cpu/workspace.h"

namespace residual::cpu {

// dst = (src / 255 - mean) / std
void normalize(float* dst,          // [N,H,W,C]
               const uint8_t* src,  // [N,H,W,C]
               const core::Op& op, const core::Shape& shape, int batch, const Kernels& kernels,
               ThreadPool& pool);

// The maximum over each window; padding never counts. Needs kernel * kernel pointers of workspace per worker.
void max_pool(float* dst,        // [N,dst.height,dst.width,C]
              const float* src,  // [N,src.height,src.width,C]
              const core::Op& op, const core::Shape& dst_shape, const core::Shape& src_shape, int batch,
              const Kernels& kernels, ThreadPool& pool, Workspace& workspace);

// The mean over all pixels.
void avg_pool(float* dst,        // [N,C]
              const float* src,  // [N,H,W,C]
              const core::Shape& shape, int batch, const Kernels& kernels, ThreadPool& pool);

// exp(x) divided by its sum, with the maximum subtracted first. In double: rows are short.
void softmax(float* dst,        // [N,C]
             const float* src,  // [N,C]
             int channels, int batch);

// 1 / (1 + exp(-x)), in double.
void sigmoid(float* dst, const float* src, size_t count);

}  // namespace residual::cpu
