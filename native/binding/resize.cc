#include "binding/resize.h"

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "binding/errors.h"
#include "binding/promise_worker.h"
#include "image/resize.h"

namespace residual::binding {
namespace {

image::ResizeGeometry read_geometry(const Napi::Object& from) {
  const auto number = [&](const char* name) { return from.Get(name).As<Napi::Number>().Int32Value(); };
  image::ResizeGeometry g;
  g.height = number("height");
  g.width = number("width");
  g.out_height = number("outHeight");
  g.out_width = number("outWidth");
  g.top = number("top");
  g.left = number("left");
  g.crop_height = number("cropHeight");
  g.crop_width = number("cropWidth");
  const std::string filter = from.Get("filter").As<Napi::String>().Utf8Value();
  if (filter != "bilinear" && filter != "bicubic")
    throw core::Error(core::ErrorCode::kInternal, "There is no filter '" + filter + "' to resize with.");
  g.filter = filter == "bicubic" ? image::Filter::kBicubic : image::Filter::kBilinear;
  image::check(g);
  return g;
}

Napi::Value resize(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const image::ResizeGeometry g = read_geometry(info[1].As<Napi::Object>());
    const auto pixels = info[0].As<Napi::Uint8Array>();
    if (pixels.ByteLength() != size_t(g.height) * g.width * 3)
      throw core::Error(core::ErrorCode::kInternal,
                        "The pixels to resize do not match their height and width.");
    // A copy of a photograph would hold up the event loop for some 20 ms. A reference is safe as long as
    // nobody transfers the buffer: lib/ resizes only arrays that it has decoded itself and shows to nobody
    // before the promise settles.
    auto source = std::make_shared<Napi::Reference<Napi::Uint8Array>>(Napi::Persistent(pixels));
    auto result = std::make_shared<std::vector<uint8_t>>();
    return PromiseWorker::start(
        env,
        [g, result, src = pixels.Data()] {
          result->resize(size_t(g.crop_height) * g.crop_width * 3);
          image::resize(result->data(), src, g);
        },
        [source, result](Napi::Env env) {
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
