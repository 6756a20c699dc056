// What one cuDNN graph computes: a convolution and everything fused with it, for one batch size.
#pragma once

#include <cudnn_graph.h>

#include <string>

namespace residual::cuda {

// How numbers are stored and multiplied; sums are always float32.
enum class Precision {
  kFp16,
  kBf16,
  kTf32,  // stored as float32, multiplied with ten bits of mantissa
  kFp32   // stored and multiplied as float32
};
constexpr const char* kPrecisionNames[] = {"fp16", "bf16", "tf32", "fp32"};
constexpr int kPrecisionCount = 4;

constexpr const char* precision_name(Precision precision) { return kPrecisionNames[int(precision)]; }

// Of activations and weights. Bias and scale are float32 in every precision.
constexpr cudnnDataType_t storage_type(Precision precision) {
  return precision == Precision::kFp16   ? CUDNN_DATA_HALF
         : precision == Precision::kBf16 ? CUDNN_DATA_BFLOAT16
                                         : CUDNN_DATA_FLOAT;
}

// The ids of a graph's tensors, by which they are bound for execution.
enum Uid : int64_t {
  kSrc = 1,       // [N,C,H,W] in that order of dimensions; in memory [N,H,W,C]
  kWeight,        // [K,C/groups,R,S]; in memory [K,R,S,C/groups]
  kScale,         // [1,K,1,1]
  kBias,          // [1,K,1,1]
  kResidual,      // as kDst
  kDst,           // [N,K,P,Q]; in memory [N,P,Q,K]
  kFirstVirtual,  // from here on: values between nodes, never in memory
};

// relu(conv(src, weight) * scale + bias + residual); channels are counted as in memory, padding included.
struct ConvSpec {
  int batch = 1;
  int height = 1;  // of src
  int width = 1;
  int channels = 1;
  int dst_height = 1;
  int dst_width = 1;
  int dst_channels = 1;
  int kernel = 1;
  int stride = 1;
  int padding = 0;
  int groups = 1;
  bool scale = false;
  bool residual = false;
  bool relu = false;
  bool float_dst = false;  // dst is float32 whatever the precision
  Precision precision = Precision::kFp16;

  cudnnDataType_t dst_type() const { return float_dst ? CUDNN_DATA_FLOAT : storage_type(precision); }

  // Equal for equal specs and only for them: the name of a plan in the cache.
  std::string key() const {
    const auto n = [](int value) { return std::to_string(value); };
    return std::string("conv ") + precision_name(precision) + " src " + n(batch) + "x" + n(height) + "x" +
           n(width) + "x" + n(channels) + " dst " + n(dst_height) + "x" + n(dst_width) + "x" +
           n(dst_channels) + " kernel " + n(kernel) + " stride " + n(stride) + " padding " + n(padding) +
           " groups " + n(groups) + (scale ? " scale" : "") + (residual ? " residual" : "") +
           (relu ? " relu" : "") + (float_dst ? " float" : "");
  }
};

}  // namespace residual::cuda
