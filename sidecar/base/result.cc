#include "sidecar/base/result.h"

namespace nacelle::base {

std::string_view code_name(Code code) {
  switch (code) {
    case Code::kOk:
      return "ok";
    case Code::kInvalid:
      return "invalid";
    case Code::kNotFound:
      return "not_found";
    case Code::kTooLarge:
      return "too_large";
    case Code::kBusy:
      return "busy";
    case Code::kDeadlineExceeded:
      return "deadline_exceeded";
    case Code::kCancelled:
      return "cancelled";
    case Code::kSidecarGone:
      return "sidecar_gone";
    case Code::kDenied:
      return "denied";
    case Code::kVersionMismatch:
      return "version_mismatch";
    case Code::kUnavailable:
      return "unavailable";
    case Code::kInternal:
      return "internal";
  }
  return "unknown";
}

}  // namespace nacelle::base
