#include "sidecar/control/wire.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>

#include "sidecar/base/file.h"
#include "sidecar/files/json.h"

namespace nacelle::control {
namespace {

base::Code code_from_name(std::string_view name) {
  for (auto number = static_cast<std::uint16_t>(base::Code::kInvalid);
       number <= static_cast<std::uint16_t>(base::Code::kInternal); ++number) {
    if (base::code_name(static_cast<base::Code>(number)) == name) {
      return static_cast<base::Code>(number);
    }
  }
  return base::Code::kInternal;
}

std::string dump_line(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Json refusal(const base::Error& error) {
  return {{"error", {{"code", base::code_name(error.code)}, {"message", error.message}}}};
}

// Waits for `events` on `fd`, at most until `deadline`.
base::Status wait_for(int fd, short events, base::Nanos deadline) {
  while (true) {
    const base::Nanos left = deadline - base::now_ns();
    if (left <= 0) {
      return base::Error{base::Code::kDeadlineExceeded,
                         "the sidecar did not answer in time; is it overloaded or stopped?"};
    }
    constexpr base::Nanos kWaitMax = 3'600 * base::kSecond;  // keeps the milliseconds in an int
    const auto milliseconds = static_cast<int>(std::min(left, kWaitMax) / base::kMillisecond + 1);
    pollfd entry{.fd = fd, .events = events, .revents = 0};
    const int ready = ::poll(&entry, 1, milliseconds);
    if (ready > 0) return base::ok();
    if (ready < 0 && errno != EINTR) {
      return base::Error{base::Code::kInternal, "cannot poll: " + base::errno_text(errno)};
    }
  }
}

}  // namespace

base::Result<Question> parse_question(std::string_view line) {
  auto json = files::parse_json(line, "request");
  if (!json) return json.error();
  const auto bad = [](const std::string& what) {
    return base::Error{base::Code::kInvalid,
                       what + R"(; a request is {"verb": "status", "arguments": {}})"};
  };
  if (!json->is_object()) return bad("the request is not an object");
  for (const auto& [key, value] : json->items()) {
    if (key != "verb" && key != "arguments") return bad("the request has a key \"" + key + "\"");
  }
  if (!json->contains("verb") || !(*json)["verb"].is_string()) {
    return bad("the request has no \"verb\" that is a string");
  }
  Question question{.verb = (*json)["verb"].get<std::string>(), .arguments = Json::object()};
  if (json->contains("arguments")) {
    question.arguments = std::move((*json)["arguments"]);
    if (!question.arguments.is_object()) return bad("\"arguments\" is not an object");
  }
  return question;
}

base::Result<Json> parse_answer(std::string_view line) {
  auto json = files::parse_json(line, "answer");
  if (!json) return base::Error{base::Code::kVersionMismatch, json.error().message};
  if (json->is_object() && json->contains("result")) return std::move((*json)["result"]);
  if (json->is_object() && json->contains("error")) {
    const Json& error = (*json)["error"];
    const auto text = [&error](const char* key) {
      const bool has = error.is_object() && error.contains(key) && error[key].is_string();
      return has ? error[key].get<std::string>() : std::string();
    };
    return base::Error{code_from_name(text("code")), text("message")};
  }
  return base::Error{base::Code::kVersionMismatch,
                     "the answer has neither \"result\" nor \"error\"; is this a nacelled control "
                     "socket of the same version?"};
}

std::string question_line(std::string_view verb, const Json& arguments) {
  return dump_line({{"verb", verb}, {"arguments", arguments}});
}

std::string answer_line(const base::Result<Json>& answer) {
  if (!answer) return dump_line(refusal(answer.error()));
  std::string line = dump_line({{"result", *answer}});
  if (line.size() <= kAnswerMax) return line;
  return dump_line(refusal({base::Code::kTooLarge, "the answer has " + std::to_string(line.size()) +
                                                       " bytes; a line has at most " +
                                                       std::to_string(kAnswerMax)}));
}

base::Status write_text(int fd, std::string_view text, base::Nanos deadline) {
  while (!text.empty()) {
    const ssize_t count = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count >= 0) {
      text.remove_prefix(static_cast<std::size_t>(count));
    } else if (errno == EAGAIN) {
      if (auto ready = wait_for(fd, POLLOUT, deadline); !ready) return ready;
    } else if (errno != EINTR) {
      return base::Error{base::Code::kSidecarGone,
                         "the sidecar hung up: " + base::errno_text(errno)};
    }
  }
  return base::ok();
}

ssize_t send_with(int fd, std::string_view text, int pass) {
  iovec piece{const_cast<char*>(text.data()), text.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  if (pass >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof pass);
    std::memcpy(CMSG_DATA(header), &pass, sizeof pass);
  }
  return ::sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

namespace {

// recv(), and the descriptor that came along, if one did.
ssize_t receive_with(int fd, std::span<char> out, base::Fd* passed) {
  iovec piece{out.data(), out.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  if (passed != nullptr) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
  }
  const ssize_t count = ::recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (count < 0 || passed == nullptr) return count;
  const cmsghdr* const header = CMSG_FIRSTHDR(&message);
  if (header != nullptr && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
      header->cmsg_len == CMSG_LEN(sizeof(int))) {
    int descriptor = -1;
    std::memcpy(&descriptor, CMSG_DATA(header), sizeof descriptor);
    passed->reset(descriptor);
  }
  return count;
}

}  // namespace

base::Result<std::string> read_line(int fd, std::size_t size_max, base::Nanos deadline,
                                    base::Fd* passed) {
  std::string line;
  while (true) {
    char chunk[16 << 10];
    const ssize_t count = receive_with(fd, chunk, passed);
    if (count > 0) {
      const std::string_view bytes(chunk, static_cast<std::size_t>(count));
      const std::size_t end = std::min(bytes.find('\n'), bytes.size());
      line += bytes.substr(0, end);
      if (line.size() >= size_max) {
        return base::Error{base::Code::kTooLarge,
                           "the answer has more than " + std::to_string(size_max) + " bytes"};
      }
      if (end < bytes.size()) return line;
    } else if (count < 0 && errno == EAGAIN) {
      if (auto ready = wait_for(fd, POLLIN, deadline); !ready) return ready.error();
    } else if (count == 0 || errno != EINTR) {
      return base::Error{base::Code::kSidecarGone, "the sidecar hung up before it answered"};
    }
  }
}

}  // namespace nacelle::control
