// Reads, rounds and writes the numbers of a cuDNN tensor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace residual::twin {

enum class DataType { kHalf, kBfloat16, kFloat, kInt8, kInt32 };

// By cuDNN's name, "CUDNN_DATA_HALF"; INTERNAL for any other type.
DataType data_type(const std::string& name);

struct Tensor {
  int64_t uid = 0;
  DataType type = DataType::kFloat;
  std::vector<int64_t> dims, strides;  // N, C, H, W
  bool is_virtual = false;
  bool is_result = false;  // of a node

  int64_t count() const;  // of elements
  size_t bytes() const;   // from the first element to the end of the last
  int64_t offset(int64_t n, int64_t c, int64_t h, int64_t w) const {  // in memory, in elements
    return n * strides[0] + c * strides[1] + h * strides[2] + w * strides[3];
  }
};

// The numbers of a tensor, dense and channels last whatever its strides: [N,H,W,C]. A double holds every
// value of every type exactly.
using Values = std::vector<double>;

// Calls body(index into Values, n, c, h, w) for every element.
template <typename Body>
void for_each(const Tensor& t, Body body) {
  int64_t i = 0;
  for (int64_t n = 0; n < t.dims[0]; n++)
    for (int64_t h = 0; h < t.dims[2]; h++)
      for (int64_t w = 0; w < t.dims[3]; w++)
        for (int64_t c = 0; c < t.dims[1]; c++, i++) body(i, n, c, h, w);
}

Values read(const Tensor& tensor, const void* data);

// Memory between the tensor's elements stays as it is.
void write(const Tensor& tensor, void* data, const Values& values);

// Rounds to numbers the type can represent: to float32 first, since that is what is computed in, then to
// nearest, ties to even. Integers are rounded directly, and saturate.
void round_to(DataType type, Values& values);

}  // namespace residual::twin
