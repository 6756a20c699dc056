#include "cpu/reduced_ops.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <vector>

#include "core/error.h"
#include "cpu/bf16.h"
#include "cpu/pool_rows.h"
#include "cpu/ranges.h"

namespace residual::cpu {
namespace {

constexpr int kTasksPerThread = 4;
constexpr int kTogether = 64;  // channels in an array of a function's own

using core::Precision;

struct Bf16 {
  uint16_t bits;
};

float to_float(uint8_t q, float scale) { return q * scale; }
float to_float(int8_t q, float scale) { return q * scale; }
float to_float(Bf16 x, float) { return from_bf16(x.bits); }
float to_float(float x, float) { return x; }

// `reciprocal`: of the scale. NaN becomes the least.
template <typename Number>
Number from_float(float x, float reciprocal) {
  if constexpr (std::is_same_v<Number, float>) {
    return x;
  } else if constexpr (std::is_same_v<Number, Bf16>) {
    return {to_bf16(x)};
  } else {
    constexpr float kMost = std::is_signed_v<Number> ? 127 : 255,
                    kLeast = std::is_signed_v<Number> ? -127 : 0;
    const float steps = x * reciprocal;
    return static_cast<Number>(std::nearbyint(steps > kLeast ? std::min(steps, kMost) : kLeast));
  }
}

// Calls `use` with a number of the precision.
template <typename Use>
void of_precision(Precision precision, const Use& use) {
  switch (precision) {
    case Precision::kInt8:
      return use(int8_t());
    case Precision::kUint8:
      return use(uint8_t());
    case Precision::kBf16:
      return use(Bf16());
    default:
      return use(float());
  }
}

void max_pool(const LightOp& light, const Kernels& kernels, ThreadPool& pool, Workspace& workspace) {
  switch (light.plan.src(light.op).precision) {
    case Precision::kInt8:
      return pool_rows<int8_t>(light, pool, workspace, kernels.maximum_int8);
    case Precision::kUint8:
      return pool_rows<uint8_t>(light, pool, workspace, kernels.maximum_uint8);
    default:
      return pool_rows<uint16_t>(light, pool, workspace, kernels.maximum_bf16);
  }
}

// int8: the sum is exact. bf16: in double.
template <typename Number>
void avg_pool(const LightOp& light, ThreadPool& pool) {
  constexpr bool kIsExact = sizeof(Number) == 1;
  using Sum = std::conditional_t<kIsExact, int64_t, double>;
  using Part = std::conditional_t<kIsExact, int32_t, float>;
  constexpr int kPart = 64;  // pixels whose sum a Part holds, exactly or well enough
  const core::Value& value = light.plan.src(light.op);
  const int channels = value.channels, pixels = value.height * value.width;
  pool.run(light.batch, [&](int n, int) {
    const auto* const src = static_cast<const Number*>(light.operands[0]) + n * value.elements();
    float* const dst = light.floats() + size_t(n) * channels;
    for (int first = 0; first < channels; first += kTogether) {
      const int count = std::min(kTogether, channels - first);
      Sum sums[kTogether] = {};
      for (int begin = 0; begin < pixels; begin += kPart) {
        Part part[kTogether] = {};
        for (int p = begin; p < std::min(begin + kPart, pixels); p++) {
          const Number* const from = src + size_t(p) * channels + first;
          for (int c = 0; c < count; c++) {
            if constexpr (kIsExact)
              part[c] += from[c];
            else
              part[c] += to_float(from[c], 1);
          }
        }
        for (int c = 0; c < count; c++) sums[c] += part[c];
      }
      for (int c = 0; c < count; c++)
        dst[first + c] = static_cast<float>(double(sums[c]) * value.scale / pixels);
    }
  });
}

template <typename From, typename To>
void convert(To* dst, const From* src, size_t count, float scale, float reciprocal) {
  for (size_t i = 0; i < count; i++) dst[i] = from_float<To>(to_float(src[i], scale), reciprocal);
}

void convert_op(const LightOp& light, ThreadPool& pool) {
  const core::Value &from = light.plan.src(light.op), &to = light.plan.dst(light.op);
  const float reciprocal = static_cast<float>(1 / double(to.scale));
  const int rows = light.batch * from.height, tasks = std::min(rows, pool.threads() * kTasksPerThread);
  const size_t row = size_t(from.width) * from.channels;
  of_precision(from.precision, [&](auto a) {
    of_precision(to.precision, [&](auto b) {
      pool.run(tasks, [&](int task, int) {
        const size_t at = part_begin(rows, tasks, task) * row;
        const size_t count = part_begin(rows, tasks, task + 1) * row - at;
        convert(static_cast<decltype(b)*>(light.dst) + at,
                static_cast<const decltype(a)*>(light.operands[0]) + at, count, from.scale, reciprocal);
      });
    });
  });
}

// dst = (src / 255 - mean) / std, of bytes; floats are that already.
void normalize_to_bf16(const LightOp& light, ThreadPool& pool) {
  const core::Op& op = light.op;
  const core::Shape& shape = light.plan.dst(op);
  const size_t channels = shape.channels;
  std::vector<std::array<Bf16, 256>> table(channels);
  for (size_t c = 0; c < channels; c++)
    for (int byte = 0; byte < 256; byte++)
      table[c][byte] = {to_bf16(static_cast<float>((byte / 255.0 - op.mean[c]) / op.std[c]))};
  pool.run(light.batch, [&](int n, int) {
    const size_t at = n * shape.elements();
    Bf16* const dst = static_cast<Bf16*>(light.dst) + at;
    if (light.input.floats) return convert(dst, light.input.floats + at, shape.elements(), 1, 1);
    const uint8_t* const src = light.input.bytes + at;
    for (size_t i = 0; i < shape.elements(); i += channels)
      for (size_t c = 0; c < channels; c++) dst[i + c] = table[c][src[i + c]];
  });
}

// The bytes that normalised floats were made of.
void restore_bytes(const LightOp& light, ThreadPool& pool) {
  const core::Op& op = light.op;
  const core::Shape& shape = light.plan.dst(op);
  const size_t channels = shape.channels;
  std::atomic<bool> in_range{true};
  pool.run(light.batch, [&](int n, int) {
    const size_t at = n * shape.elements();
    uint8_t* const dst = static_cast<uint8_t*>(light.dst) + at;
    const float* const src = light.input.floats + at;
    bool all = true;
    for (size_t i = 0; i < shape.elements(); i += channels)
      for (size_t c = 0; c < channels; c++) {
        const float byte = std::nearbyint((src[i + c] * op.std[c] + op.mean[c]) * 255.0f);
        const bool fits = byte >= 0 && byte <= 255;
        all &= fits;
        dst[i + c] = fits ? static_cast<uint8_t>(byte) : 0;
      }
    if (!all) in_range = false;
  });
  if (!in_range)
    throw core::Error(core::ErrorCode::kInputOutOfRange,
                      "The input has floats that no bytes of an image are normalised to. In int8 a network "
                      "takes images: pass bytes, or floats that were made of them.");
}

void normalize(const LightOp& light, ThreadPool& pool) {
  const core::Value& value = light.plan.dst(light.op);
  if (value.precision == Precision::kBf16) return normalize_to_bf16(light, pool);
  if (light.input.floats) return restore_bytes(light, pool);
  std::memcpy(light.dst, light.input.bytes, light.batch * value.elements());
}

}  // namespace

bool is_reduced(const LightOp& light) {
  if (light.plan.dst(light.op).precision != Precision::kFp32) return true;
  return light.op.kind != core::OpKind::kNormalize && light.plan.src(light.op).precision != Precision::kFp32;
}

void run_reduced_op(const LightOp& light, const Kernels& kernels, ThreadPool& pool, Workspace& workspace) {
  const auto of_source = [&](const auto& use) { of_precision(light.plan.src(light.op).precision, use); };
  switch (light.op.kind) {
    case core::OpKind::kNormalize:
      return normalize(light, pool);
    case core::OpKind::kMaxPool:
      return max_pool(light, kernels, pool, workspace);
    case core::OpKind::kGlobalAvgPool:
      return of_source([&](auto number) { avg_pool<decltype(number)>(light, pool); });
    case core::OpKind::kConvert:
      return convert_op(light, pool);
    default:
      break;
  }
  throw core::Error(core::ErrorCode::kInternal, "'" + light.op.name + "' takes only float32.");
}

void to_floats(float* dst, const void* src, const core::Value& value, size_t count) {
  of_precision(value.precision, [&](auto number) {
    convert(dst, static_cast<const decltype(number)*>(src), count, value.scale, 1);
  });
}

}  // namespace residual::cpu
