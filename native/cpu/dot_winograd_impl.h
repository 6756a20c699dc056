// The transforms of dot_winograd.h in vectors. Included by files with one instruction set each, in an unnamed
// namespace as kernels_impl.h explains.
#pragma once

#include <cstring>

#include "cpu/dot_registers_impl.h"
#include "cpu/dot_winograd_kernels.h"

namespace residual::cpu {
namespace {

template <typename Number, int kLanes>
struct VectorOf {
  typedef Number Type __attribute__((vector_size(kLanes * sizeof(Number))));
};
template <typename Number, int kLanes>
using VectorType = typename VectorOf<Number, kLanes>::Type;

template <typename Vector>
inline Vector loaded_vector(const void* from) {
  Vector result;
  std::memcpy(&result, from, sizeof result);
  return result;
}

template <typename Vector>
inline void winograd_input_line(Vector* to, const Vector* d) {
  const Vector even = d[4] - 4 * d[2], odd = d[3] - 4 * d[1];
  const Vector even2 = d[4] - d[2], odd2 = 2 * (d[3] - d[1]);
  to[0] = 4 * d[0] - 5 * d[2] + d[4];
  to[1] = even + odd;
  to[2] = even - odd;
  to[3] = even2 + odd2;
  to[4] = even2 - odd2;
  to[5] = 4 * d[1] - 5 * d[3] + d[5];
}

template <typename Vector>
inline void winograd_output_line(Vector* to, const Vector* m) {
  const Vector sum = m[1] + m[2], difference = m[1] - m[2], sum2 = m[3] + m[4], difference2 = m[3] - m[4];
  to[0] = m[0] + sum + sum2;
  to[1] = difference + 2 * difference2;
  to[2] = sum + 4 * sum2;
  to[3] = difference + 8 * difference2 + 2 * m[5];
}

template <typename Byte, int kLanes>
void winograd_input_of(int16_t* dst, size_t stride, const std::byte* const* sources, int channels) {
  using Bytes = VectorType<Byte, kLanes>;
  using Words = VectorType<int16_t, kLanes>;
  for (int c = 0; c < channels; c += kLanes) {
    Words half[kPoints];
    for (int column = 0; column < kInputPatch; column++) {
      Words patch[kInputPatch], line[kInputPatch];
      for (int row = 0; row < kInputPatch; row++)
        patch[row] =
            __builtin_convertvector(loaded_vector<Bytes>(sources[row * kInputPatch + column] + c), Words);
      winograd_input_line(line, patch);
      for (int row = 0; row < kInputPatch; row++) half[row * kInputPatch + column] = line[row];
    }
    for (int row = 0; row < kInputPatch; row++) {
      Words line[kInputPatch];
      winograd_input_line(line, half + row * kInputPatch);
      for (int column = 0; column < kInputPatch; column++)
        std::memcpy(dst + (row * kInputPatch + column) * stride + c, &line[column], sizeof(Words));
    }
  }
}

template <int kLanes>
void winograd_input(int16_t* dst, size_t stride, const std::byte* const* sources, int channels,
                    bool is_signed) {
  is_signed ? winograd_input_of<int8_t, kLanes>(dst, stride, sources, channels)
            : winograd_input_of<uint8_t, kLanes>(dst, stride, sources, channels);
}

// 576 times the sums of a patch, as dot_winograd.h has it, become those of its pixels. Arithmetic modulo
// 2^32.
template <int kLanes>
inline void winograd_output(int32_t* sums, const int32_t* products, size_t stride, const int32_t* start,
                            int columns) {
  using Vector = VectorType<uint32_t, kLanes>;
  using Signed = VectorType<int32_t, kLanes>;
  constexpr uint32_t kNinth = 0x38e38e39;  // 9 * kNinth = 1 modulo 2^32
  for (int k = 0; k < columns; k += kLanes) {
    Vector half[kPatch * kInputPatch];
    for (int column = 0; column < kInputPatch; column++) {
      Vector points[kInputPatch], line[kPatch];
      for (int row = 0; row < kInputPatch; row++)
        points[row] = loaded_vector<Vector>(products + (row * kInputPatch + column) * stride + k);
      winograd_output_line(line, points);
      for (int row = 0; row < kPatch; row++) half[row * kInputPatch + column] = line[row];
    }
    const Signed first = loaded_vector<Signed>(start + k);
    for (int row = 0; row < kPatch; row++) {
      Vector line[kPatch];
      winograd_output_line(line, half + row * kInputPatch);
      for (int column = 0; column < kPatch; column++) {
        const Signed sum = ((Signed)(line[column] * kNinth) >> 6) + first;
        std::memcpy(sums + (row * kPatch + column) * kSumColumns + k, &sum, sizeof sum);
      }
    }
  }
}

template <typename Registers, int kLanes>
void run_winograd_in_registers(const DotWinogradTask& task, FinishRows finish) {
  alignas(64) static constexpr int32_t kZeros[kSumColumns] = {};
  static constexpr ptrdiff_t kOneTap = 0;
  alignas(64) int32_t sums[kPatchPixels * kSumColumns];
  const DotTask& dot = task.dot;
  const int patches = dot.block_count, panels = dot.panels();
  const size_t product_stride = winograd_product_stride(patches);
  RegisterTask part = {};
  part.row_stride = dot.depth;
  part.taps = &kOneTap;
  part.tap_count = 1;
  part.depth = dot.depth;
  part.panel_bytes = dot.panel_bytes();
  part.start = kZeros;
  for (int panel = 0; panel < panels; panel += 2) {
    const int count = panels - panel < 2 ? 1 : 2;
    for (int point = 0; point < kPoints; point++) {
      part.source = reinterpret_cast<const std::byte*>(task.inputs + point * task.point_stride);
      part.weight = dot.weight + panel * part.panel_bytes + size_t(point) * dot.depth / 4 * kPanelRow;
      part.sums = task.products + point * product_stride;
      sum_block<Registers>(part, patches, count);
    }
    for (int patch = 0; patch < patches; patch++) {
      winograd_output<kLanes>(sums, task.products + patch * kSumColumns, product_stride,
                              static_cast<const int32_t*>(dot.start) + panel * kPanelColumns,
                              count * kPanelColumns);
      finish(dot, dot.blocks[patch], 0, kPatchPixels, panel, sums);
    }
  }
}

}  // namespace
}  // namespace residual::cpu
