// The control socket's lines: what a question and an answer look like, and how a blocking caller
// moves them. docs/formats/control.md is the same for people.
//
//   question  {"verb": "config", "arguments": {"option": "socket"}}     "arguments" may be left out
//   answer    {"result": {...}}
//   refusal   {"error": {"code": "not_found", "message": "..."}}        a base::Error
//
// A line ends with one '\n'; JSON escapes its own.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "sidecar/base/fd.h"
#include "sidecar/base/result.h"
#include "sidecar/base/time.h"
#include "sidecar/control/api.h"

namespace nacelle::control {

// Longest lines, '\n' included.
inline constexpr std::size_t kQuestionMax = 64U << 10;
inline constexpr std::size_t kAnswerMax = 8U << 20;  // metrics: 25 KiB per service

struct Question {
  std::string verb;
  Json arguments;  // an object
};

// Lines without their '\n' in, structures out. Bytes from the other side: every error is kInvalid
// (question) or kVersionMismatch (answer), or the refusal that the answer carries.
base::Result<Question> parse_question(std::string_view line);
base::Result<Json> parse_answer(std::string_view line);

// Structures in, lines with their '\n' out. An answer over kAnswerMax becomes a refusal that says
// so; bytes in strings that are not UTF-8 become U+FFFD.
std::string question_line(std::string_view verb, const Json& arguments);
std::string answer_line(const base::Result<Json>& answer);

// For a non-blocking socket: waits until all of `text` is written, or one line (returned without
// its '\n') of at most `size_max` bytes is read. kDeadlineExceeded at `deadline`, kSidecarGone when
// the other side hangs up first, kTooLarge for a longer line.
base::Status write_text(int fd, std::string_view text, base::Nanos deadline);
// With `passed`, a descriptor that comes along (SCM_RIGHTS) is taken; otherwise it is closed.
base::Result<std::string> read_line(int fd, std::size_t size_max, base::Nanos deadline,
                                    base::Fd* passed = nullptr);
// Writes as much of `text` as the socket takes now, with a descriptor beside the first byte when
// `pass` is one; what send() would return.
ssize_t send_with(int fd, std::string_view text, int pass);

}  // namespace nacelle::control
