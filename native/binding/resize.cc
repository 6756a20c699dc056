#include "binding/resize.h"

#include <climits>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "binding/errors.h"
#include "binding/promise_worker.h"
#include "binding/values.h"
#include "image/resize.h"

namespace residual::binding {
namespace {

image::ResizeGeometry read_geometry(const Napi::Object& from) {
  const auto number = [&](const char* name) {
    return static_cast<int>(
        integer(from.Get(name), {std::string("The resize geometry's ") + name}, INT_MIN, INT_MAX));
  };
  image::ResizeGeometry g;
  g.height = number("height");
  g.width = number("width");
  g.out_height = number("outHeight");
  g.out_width = number("outWidth");
  g.top = number("top");
  g.left = number("left");
  g.crop_height = number("cropHeight");
  g.crop_width = number("cropWidth");
  const std::string filter = string(from.Get("filter"), {"The resize filter"});
  if (filter != "bilinear" && filter != "bicubic")
    throw core::Error(core::ErrorCode::kInternal, "Unknown resize filter '" + filter + "'.");
  g.filter = filter == "bicubic" ? image::Filter::kBicubic : image::Filter::kBilinear;
  image::check(g);
  return g;
}

Napi::Value resize(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const Napi::Object from = object(info[1], {"The resize geometry"});
    const image::ResizeGeometry g = read_geometry(from);
    const Napi::Value exclusive = from.Get("exclusive");
    const bool is_exclusive =
        !exclusive.IsUndefined() && boolean(exclusive, {"The resize geometry's exclusive"});
    const TypedArrayView pixels = typed_array(info[0], {"The image to resize"});  // no getter runs after this
    if (pixels.type != napi_uint8_array || pixels.elements != size_t(g.height) * g.width * 3)
      throw core::Error(core::ErrorCode::kInternal,
                        "The image to resize must be a Uint8Array of height x width x 3 bytes.");
    // Copying a photograph blocks the event loop for about 20 ms. If nobody else has the array, nobody can
    // transfer its buffer, and a reference is enough.
    std::shared_ptr<uint8_t[]> copy;
    std::shared_ptr<Napi::ObjectReference> reference;
    if (is_exclusive)
      reference = std::make_shared<Napi::ObjectReference>(Napi::Persistent(info[0].As<Napi::Object>()));
    else
      copy = copy_of<uint8_t>(pixels);
    const uint8_t* const src = is_exclusive ? static_cast<const uint8_t*>(pixels.data) : copy.get();
    auto result = std::make_shared<std::vector<uint8_t>>();
    return PromiseWorker::start(
        env,
        [g, result, copy, src] {
          result->resize(size_t(g.crop_height) * g.crop_width * 3);
          image::resize(result->data(), src, g);
        },
        [reference, result](Napi::Env env) {
          auto array = Napi::Uint8Array::New(env, result->size());
          std::memcpy(array.Data(), result->data(), result->size());
          return array;
        });
  });
}

}  // namespace

void register_resize(Napi::Env env, Napi::Object exports) {
  exports.Set("resize", Napi::Function::New(env, resize, "resize"));
}

}  // namespace residual::binding
