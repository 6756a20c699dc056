#include "cuda/shared_library.h"

#include <dlfcn.h>

#include "core/error.h"

namespace residual::cuda {

SharedLibrary SharedLibrary::open(const char* what, const std::vector<std::string>& candidates,
                                  const char* remedy) {
  std::string tried;
  for (const std::string& candidate : candidates) {
    SharedLibrary library = open_if_there(candidate);
    if (library.is_open()) return library;
    const char* reason = dlerror();
    tried += (tried.empty() ? " " : "; ") + (reason ? std::string(reason) : candidate);
  }
  throw core::Error(core::ErrorCode::kBackendUnavailable,
                    std::string(what) + " cannot be loaded. " + remedy + " Tried:" + tried + ".");
}

SharedLibrary SharedLibrary::open_if_there(const std::string& candidate) {
  SharedLibrary library;
  library.handle_ = dlopen(candidate.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (library.handle_) library.path_ = candidate;
  return library;
}

void* SharedLibrary::function(const char* name) const {
  if (void* address = dlsym(handle_, name)) return address;
  throw core::Error(core::ErrorCode::kBackendUnavailable,
                    path_ + " has no function " + name + ": it is too old. Install a newer one.");
}

}  // namespace residual::cuda
