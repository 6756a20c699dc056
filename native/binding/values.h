// Reads JavaScript values, each once, into memory of our own and into the expected type.
//
// Between two reads of a value, a getter may have changed it or transferred its buffer. Code that needs a
// value twice keeps what these functions return. They all throw core::Error with the code of `name`.
#pragma once

#include <napi.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"

namespace residual::binding {

// What a message calls a value, "The session's threads", and the code of the error.
struct Name {
  std::string text;
  core::ErrorCode code = core::ErrorCode::kInternal;

  // "<text> must be ...". Always throws.
  [[noreturn]] void refuse(const std::string& problem) const;
};

constexpr int64_t kMostThreads = 1024;

// An integer in [least, most].
int64_t integer(const Napi::Value& value, const Name& name, int64_t least, int64_t most);

// Any number, including NaN and infinity.
double number(const Napi::Value& value, const Name& name);

bool boolean(const Napi::Value& value, const Name& name);
std::string string(const Napi::Value& value, const Name& name);
Napi::Object object(const Napi::Value& value, const Name& name);

// The elements of an array, as many as it has at the time of the call.
std::vector<Napi::Value> elements(const Napi::Value& value, const Name& name, size_t most);
std::vector<std::string> strings(const Napi::Value& value, const Name& name, size_t most);

// Where the numbers of a typed array lie. Valid until JavaScript runs again, in a getter or after the call.
struct TypedArrayView {
  napi_typedarray_type type;
  size_t elements;
  const void* data;
  size_t bytes() const;
};
TypedArrayView typed_array(const Napi::Value& value, const Name& name);

// A copy of the numbers: their owner may change, transfer or free the buffer while the work runs.
template <typename T>
std::shared_ptr<T[]> copy_of(const TypedArrayView& view) {
  std::shared_ptr<T[]> copy(new T[view.elements]);
  if (view.elements > 0) std::memcpy(copy.get(), view.data, view.elements * sizeof(T));
  return copy;
}

}  // namespace residual::binding
