#include "core/read_file.h"

#include <algorithm>
#include <string>

#include "core/error.h"

#if defined(_WIN32)
#include <windows.h>
#else
#include <unistd.h>

#include <cerrno>
#include <cstring>
#endif

namespace residual::core {
namespace {

constexpr size_t kMostRead = size_t(1) << 30;  // some systems refuse to read 2 GiB or more at once

[[noreturn]] void refuse(const std::string& reason) {
  throw Error(ErrorCode::kFileNotFound, "The file could not be read: " + reason + ".");
}

#if defined(_WIN32)

// Descriptors are of the C library that is in Node.js; libuv knows their handles.
extern "C" __declspec(dllimport) HANDLE uv_get_osfhandle(int file);

// How many bytes were read; 0 at the end.
size_t read_some(int file, std::byte* to, size_t bytes, uint64_t position) {
  OVERLAPPED at = {};
  at.Offset = static_cast<DWORD>(position);
  at.OffsetHigh = static_cast<DWORD>(position >> 32);
  DWORD read = 0;
  if (!ReadFile(uv_get_osfhandle(file), to, static_cast<DWORD>(bytes), &read, &at)) {
    const DWORD error = GetLastError();
    if (error != ERROR_HANDLE_EOF) refuse("Windows error " + std::to_string(error));
  }
  return read;
}

#else

size_t read_some(int file, std::byte* to, size_t bytes, uint64_t position) {
  ssize_t read;
  do {
    read = pread(file, to, bytes, static_cast<off_t>(position));
  } while (read < 0 && errno == EINTR);
  if (read < 0) refuse(std::strerror(errno));
  return static_cast<size_t>(read);
}

#endif

}  // namespace

void read_fully(int file, std::byte* to, size_t bytes, uint64_t position) {
  while (bytes > 0) {
    const size_t read = read_some(file, to, std::min(bytes, kMostRead), position);
    if (read == 0)
      throw Error(ErrorCode::kCheckpointInvalid,
                  "The file ends at " + std::to_string(position) + " bytes, in the middle of a tensor.");
    to += read;
    bytes -= read;
    position += read;
  }
}

}  // namespace residual::core
