// The one exception type C++ throws. Its codes come from the table in lib/errors.ts (a test compares the
// two).
#pragma once

#include <stdexcept>
#include <string>

namespace residual::core {

enum class ErrorCode {
  kBackendUnavailable,
  kCheckpointInvalid,
  kDeviceLost,
  kFileNotFound,
  kGpuInvalid,
  kInputOutOfRange,
  kInternal,
  kNonFinite,
  kOutOfMemory,
  kPlanInvalid,
  kPrecisionUnsupported,
  kSessionClosed
};

constexpr const char* error_code_name(ErrorCode code) {
  switch (code) {
    case ErrorCode::kBackendUnavailable:
      return "BACKEND_UNAVAILABLE";
    case ErrorCode::kCheckpointInvalid:
      return "CHECKPOINT_INVALID";
    case ErrorCode::kDeviceLost:
      return "DEVICE_LOST";
    case ErrorCode::kFileNotFound:
      return "FILE_NOT_FOUND";
    case ErrorCode::kGpuInvalid:
      return "GPU_INVALID";
    case ErrorCode::kInputOutOfRange:
      return "INPUT_OUT_OF_RANGE";
    case ErrorCode::kInternal:
      return "INTERNAL";
    case ErrorCode::kNonFinite:
      return "NON_FINITE";
    case ErrorCode::kOutOfMemory:
      return "OUT_OF_MEMORY";
    case ErrorCode::kPlanInvalid:
      return "PLAN_INVALID";
    case ErrorCode::kPrecisionUnsupported:
      return "PRECISION_UNSUPPORTED";
    case ErrorCode::kSessionClosed:
      return "SESSION_CLOSED";
  }
  return "INTERNAL";
}

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace residual::core
