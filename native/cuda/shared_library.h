// An optional shared library, opened at run time by name or path; its functions are looked up by name.
#pragma once

#include <string>
#include <vector>

namespace residual::cuda {

// An open shared library. It is never closed: cuDNN and the CUDA runtime keep threads and exit handlers that
// would outlive their code.
class SharedLibrary {
 public:
  SharedLibrary() = default;

  // Opens the first of `candidates` that opens (the dynamic linker searches for bare names); its symbols
  // become visible to libraries opened later. Throws BACKEND_UNAVAILABLE with `remedy`, every candidate and
  // why it failed.
  static SharedLibrary open(const char* what, const std::vector<std::string>& candidates, const char* remedy);

  // Does not throw: returns an empty object if the library cannot be opened.
  static SharedLibrary open_if_there(const std::string& candidate);

  // The address of a function; throws BACKEND_UNAVAILABLE if the library lacks it.
  void* function(const char* name) const;

  bool is_open() const { return handle_ != nullptr; }
  const std::string& path() const { return path_; }  // as it was opened

 private:
  void* handle_ = nullptr;
  std::string path_;
};

}  // namespace residual::cuda
