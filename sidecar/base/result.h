// A value or the reason why there is none: std::expected's names, for compilers that lack it.
//
// Use it for the world's fault (a file, a device, a client, a peer). Our own bugs are CHECKs, and
// an ordinary outcome (a full ring, a cache miss) is a bool or an optional. See docs/STYLE.md.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace nacelle::base {

// Stops the process, as a CHECK does. Here is not the macro itself: applications include this file
// through shm/client.h, and many have a CHECK of their own.
[[noreturn]] void check_failed(const char* file, int line, const char* condition);

// What a caller can do about an error. The numbers travel in shared memory and in the C ABI
// (docs/formats/shm.md): append, never renumber.
enum class Code : std::uint16_t {
  kOk = 0,
  kInvalid = 1,           // the request or file is wrong; sending it again will not help
  kNotFound = 2,          // no such model, file, option or command
  kTooLarge = 3,          // over a limit; the message names the limit and its option
  kBusy = 4,              // no room now; try again after the hint
  kDeadlineExceeded = 5,  // the deadline passed before the work was done
  kCancelled = 6,         // the caller took the request back
  kSidecarGone = 7,       // the other side of the connection went away
  kDenied = 8,            // this user may not do that
  kVersionMismatch = 9,   // the two sides speak different versions of the protocol
  kUnavailable = 10,      // a device, file or service that should be there is not
  kInternal = 11,         // a defect of ours
};

// The field's word for a code, lower case with underscores: "too_large".
std::string_view code_name(Code code);

// What went wrong, where, and what to do about it, in one sentence a person can act on.
struct [[nodiscard]] Error {
  Code code = Code::kInternal;
  std::string message;

  // The same error with "while doing X: " put before it.
  [[nodiscard]] Error in(std::string_view doing) const {
    return Error{code, std::string(doing) + ": " + message};
  }
};

template <typename T>
class [[nodiscard]] Result {
 public:
  // NOLINTBEGIN(google-explicit-constructor): a value is a result, and so is an error
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}
  // NOLINTEND(google-explicit-constructor)

  [[nodiscard]] bool has_value() const { return state_.index() == 0; }
  explicit operator bool() const { return has_value(); }

  // The value; a CHECK fails when there is none.
  T& value() & {
    require(has_value(), "has_value()");
    return *std::get_if<0>(&state_);
  }
  const T& value() const& {
    require(has_value(), "has_value()");
    return *std::get_if<0>(&state_);
  }
  T&& value() && {
    require(has_value(), "has_value()");
    return std::move(*std::get_if<0>(&state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  // The error; a CHECK fails when there is none.
  [[nodiscard]] const Error& error() const {
    require(!has_value(), "!has_value()");
    return *std::get_if<1>(&state_);
  }

 private:
  static void require(bool condition, const char* words) {
    if (!condition) [[unlikely]] {
      check_failed(__FILE__, __LINE__, words);
    }
  }
  std::variant<T, Error> state_;
};

// Success without a value.
struct Done {};
using Status = Result<Done>;
inline Status ok() { return Done{}; }

}  // namespace nacelle::base
