// Owns a descriptor of cuDNN's graph API: move-only, with attributes set and read by type.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cuda/cudnn.h"

namespace residual::cuda {

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(cudnnBackendDescriptorType_t type);

  cudnnBackendDescriptor_t get() const { return handle_.get(); }

  // Each throws INTERNAL with cuDNN's explanation.
  Descriptor& set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count,
                  const void* values);
  Descriptor& set(cudnnBackendAttributeName_t name, int64_t value);
  Descriptor& set(cudnnBackendAttributeName_t name, const std::vector<int64_t>& values);
  Descriptor& set(cudnnBackendAttributeName_t name, bool value);
  Descriptor& set(cudnnBackendAttributeName_t name, float value);
  Descriptor& set(cudnnBackendAttributeName_t name, cudnnDataType_t value);
  Descriptor& set(cudnnBackendAttributeName_t name, const Descriptor& value);
  Descriptor& set(cudnnBackendAttributeName_t name, const std::string& text);
  Descriptor& finalize(const char* what);

  int64_t integer(cudnnBackendAttributeName_t name) const;
  std::string text(cudnnBackendAttributeName_t name) const;
  // Fills `value` with the descriptor of that attribute.
  void read(cudnnBackendAttributeName_t name, Descriptor& value) const;
  // How many elements the attribute has.
  int64_t count(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type) const;

 private:
  struct Destroy {
    void operator()(void* handle) const { cudnn().BackendDestroyDescriptor(handle); }
  };
  std::unique_ptr<void, Destroy> handle_;
};

}  // namespace residual::cuda
