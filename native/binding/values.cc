#include "binding/values.h"

#include <cmath>

namespace residual::binding {

void Name::refuse(const std::string& problem) const { throw core::Error(code, text + " " + problem + "."); }

int64_t integer(const Napi::Value& value, const Name& name, int64_t least, int64_t most) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : NAN;
  if (number != std::floor(number)) name.refuse("must be an integer");  // NaN included
  if (!(number >= double(least) && number <= double(most)))
    name.refuse("must be from " + std::to_string(least) + " to " + std::to_string(most));
  return static_cast<int64_t>(number);
}

double number(const Napi::Value& value, const Name& name) {
  if (!value.IsNumber()) name.refuse("must be a number");
  return value.As<Napi::Number>().DoubleValue();
}

bool boolean(const Napi::Value& value, const Name& name) {
  if (!value.IsBoolean()) name.refuse("must be a boolean");
  return value.As<Napi::Boolean>().Value();
}

std::string string(const Napi::Value& value, const Name& name) {
  if (!value.IsString()) name.refuse("must be a string");
  return value.As<Napi::String>().Utf8Value();
}

Napi::Object object(const Napi::Value& value, const Name& name) {
  if (!value.IsObject()) name.refuse("must be an object");
  return value.As<Napi::Object>();
}

std::vector<Napi::Value> elements(const Napi::Value& value, const Name& name, size_t most) {
  if (!value.IsArray()) name.refuse("must be an array");
  const auto array = value.As<Napi::Array>();
  const uint32_t count = array.Length();
  if (count > most) name.refuse("must have at most " + std::to_string(most) + " elements");
  std::vector<Napi::Value> result;
  result.reserve(count);
  for (uint32_t i = 0; i < count; i++) result.push_back(array.Get(i));  // undefined where it has shrunk
  return result;
}

std::vector<std::string> strings(const Napi::Value& value, const Name& name, size_t most) {
  const Name element = {"An element of " + name.text, name.code};
  std::vector<std::string> result;
  for (const Napi::Value& each : elements(value, name, most)) result.push_back(string(each, element));
  return result;
}

size_t TypedArrayView::bytes() const {
  switch (type) {
    case napi_int16_array:
    case napi_uint16_array:
      return elements * 2;
    case napi_int32_array:
    case napi_uint32_array:
    case napi_float32_array:
      return elements * 4;
    case napi_float64_array:
    case napi_bigint64_array:
    case napi_biguint64_array:
      return elements * 8;
    default:
      return elements;
  }
}

TypedArrayView typed_array(const Napi::Value& value, const Name& name) {
  if (!value.IsTypedArray()) name.refuse("must be a typed array");
  TypedArrayView view = {};
  void* data = nullptr;
  const napi_status status = napi_get_typedarray_info(value.Env(), value, &view.type, &view.elements, &data,
                                                      /*arraybuffer=*/nullptr, /*byte_offset=*/nullptr);
  if (status != napi_ok) name.refuse("cannot be read");
  view.data = data;
  return view;
}

}  // namespace residual::binding
