// How are the numbers of one of cuDNN's tensors read, rounded and written?
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace residual::twin {

enum class DataType { kHalf, kBfloat16, kFloat, kInt8, kInt32 };

// By cuDNN's name, "CUDNN_DATA_HALF"; INTERNAL for a type that is none of them.
DataType data_type(const std::string& name);

struct Tensor {
  int64_t uid = 0;
  DataType type = DataType::kFloat;
  std::vector<int64_t> dims, strides;  // N, C, H, W
  bool is_virtual = false;
  bool is_result = false;  // of a node

  int64_t count() const;  // of elements
  size_t bytes() const;   // from the first element to the end of the last
};

// The numbers of a tensor, dense, channels last whatever its strides: [N,H,W,C]. Every number of every type
// is one of double's.
using Values = std::vector<double>;

Values read(const Tensor& tensor, const void* data);

// Elements between those of the tensor stay as they are.
void write(const Tensor& tensor, void* data, const Values& values);

// To numbers the type has: float32 first, as that is what is computed in, then to nearest, ties to even.
// Integers are rounded as they are, and saturate.
void round_to(DataType type, Values& values);

}  // namespace residual::twin
