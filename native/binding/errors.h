// C++ errors as JavaScript errors: an Error with a `code`, which lib/runtime/native.ts turns into a
// ResidualError.
#pragma once

#include <napi.h>

#include <exception>
#include <new>

#include "core/error.h"

namespace residual::binding {

// An exception kept until it can be thrown in JavaScript.
struct Failure {
  core::ErrorCode code = core::ErrorCode::kInternal;
  std::string message;

  // From the exception being handled.
  static Failure current() {
    try {
      throw;
    } catch (const core::Error& error) {
      return {error.code(), error.what()};
    } catch (const std::bad_alloc&) {
      return {core::ErrorCode::kOutOfMemory, "The process ran out of memory."};
    } catch (const std::exception& error) {
      return {core::ErrorCode::kInternal, error.what()};
    }
  }

  Napi::Error to_js(Napi::Env env) const {
    Napi::Error error = Napi::Error::New(env, message);
    error.Set("code", core::error_code_name(code));
    return error;
  }
};

// Runs `body` and rethrows its exceptions as JavaScript errors.
template <typename Body>
auto guarded(Napi::Env env, const Body& body) {
  try {
    return body();
  } catch (const Napi::Error&) {
    throw;
  } catch (...) {
    throw Failure::current().to_js(env);
  }
}

}  // namespace residual::binding
