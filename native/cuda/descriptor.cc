#include "cuda/descriptor.h"

namespace residual::cuda {

Descriptor::Descriptor(cudnnBackendDescriptorType_t type) {
  cudnnBackendDescriptor_t handle = nullptr;
  check(cudnn().BackendCreateDescriptor(type, &handle), "create a descriptor");
  handle_.reset(handle);
}

Descriptor& Descriptor::set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count,
                            const void* values) {
  const cudnnStatus_t status = cudnn().BackendSetAttribute(get(), name, type, count, values);
  if (status != CUDNN_STATUS_SUCCESS) check(status, ("set attribute " + std::to_string(name)).c_str());
  return *this;
}

Descriptor& Descriptor::set(cudnnBackendAttributeName_t name, int64_t value) {
  return set(name, CUDNN_TYPE_INT64, 1, &value);
}

Descriptor& Descriptor::set(cudnnBackendAttributeName_t name, const std::vector<int64_t>& values) {
  return set(name, CUDNN_TYPE_INT64, static_cast<int64_t>(values.size()), values.data());
}

Descriptor& Descriptor::set(cudnnBackendAttributeName_t name, bool value) {
  return set(name, CUDNN_TYPE_BOOLEAN, 1, &value);
}

Descriptor& Descriptor::set(cudnnBackendAttributeName_t name, float value) {
  return set(name, CUDNN_TYPE_FLOAT, 1, &value);
}

Descriptor& Descriptor::set(cudnnBackendAttributeName_t name, cudnnDataType_t value) {
  return set(name, CUDNN_TYPE_DATA_TYPE, 1, &value);
}

Descriptor& Descriptor::set(cudnnBackendAttributeName_t name, const Descriptor& value) {
  const cudnnBackendDescriptor_t handle = value.get();
  return set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &handle);
}

Descriptor& Descriptor::set(cudnnBackendAttributeName_t name, const std::string& text) {
  return set(name, CUDNN_TYPE_CHAR, static_cast<int64_t>(text.size() + 1), text.c_str());
}

Descriptor& Descriptor::finalize(const char* what) {
  check(cudnn().BackendFinalize(get()), what);
  return *this;
}

int64_t Descriptor::integer(cudnnBackendAttributeName_t name) const {
  int64_t value = 0, count = 0;
  check(cudnn().BackendGetAttribute(get(), name, CUDNN_TYPE_INT64, 1, &count, &value), "read an integer");
  return value;
}

std::string Descriptor::text(cudnnBackendAttributeName_t name) const {
  std::string value(count(name, CUDNN_TYPE_CHAR), '\0');
  int64_t length = 0;
  check(cudnn().BackendGetAttribute(get(), name, CUDNN_TYPE_CHAR, value.size(), &length, value.data()),
        "read a text");
  while (!value.empty() && value.back() == '\0') value.pop_back();
  return value;
}

void Descriptor::read(cudnnBackendAttributeName_t name, Descriptor& value) const {
  int64_t count = 0;
  cudnnBackendDescriptor_t handle = value.get();
  check(cudnn().BackendGetAttribute(get(), name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count, &handle),
        "read a descriptor");
}

int64_t Descriptor::count(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type) const {
  int64_t count = 0;
  check(cudnn().BackendGetAttribute(get(), name, type, 0, &count, nullptr),
        "count the elements of an attribute");
  return count;
}

}  // namespace residual::cuda
