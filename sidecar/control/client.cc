// control::Client: the asking side of the control socket. Declared in api.h.
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "sidecar/base/file.h"
#include "sidecar/control/api.h"
#include "sidecar/control/wire.h"

namespace nacelle::control {

base::Result<Client> Client::connect(const std::string& path, int timeout_ms) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return base::Error{base::Code::kInvalid, "the path of a socket has 1 to " +
                                                 std::to_string(sizeof address.sun_path - 1) +
                                                 " bytes, \"" + path.substr(0, 120) + "\" has " +
                                                 std::to_string(path.size())};
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  base::Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) {
    return base::Error{base::Code::kUnavailable,
                       "cannot make a socket: " + base::errno_text(errno)};
  }
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    const int error = errno;
    if (error == EACCES || error == EPERM) {
      return base::Error{base::Code::kDenied,
                         "not allowed to connect to " + path +
                             "; run as root or as the user that nacelled runs as"};
    }
    // EAGAIN: the listener's backlog is full.
    return base::Error{base::Code::kUnavailable,
                       "no sidecar answers at " + path + ": " + base::errno_text(error)};
  }
  return Client(std::move(fd), timeout_ms);
}

base::Result<Json> Client::call(std::string_view verb, const Json& arguments, base::Fd* passed) {
  const std::string question = question_line(verb, arguments);
  if (question.size() > kQuestionMax) {
    return base::Error{base::Code::kTooLarge,
                       "the question has more than " + std::to_string(kQuestionMax) + " bytes"};
  }
  const base::Nanos deadline = base::now_ns() + timeout_ms_ * base::kMillisecond;
  const base::Status written = write_text(fd_.get(), question, deadline);
  // A sidecar that refuses the connection says why and hangs up before it reads: look for that.
  if (!written && written.error().code != base::Code::kSidecarGone) return written.error();
  const auto line = read_line(fd_.get(), kAnswerMax, deadline, passed);
  if (!line) return line.error();
  return parse_answer(*line);
}

base::Result<StatusReport> Client::status() {
  const auto json = call(kStatus, Json::object());
  if (!json) return json.error();
  return status_from_json(*json);
}

base::Result<std::vector<ModelReport>> Client::models() {
  const auto json = call(kModels, Json::object());
  if (!json) return json.error();
  return models_from_json(*json);
}

base::Result<std::string> Client::metrics() {
  const auto json = call(kMetrics, Json::object());
  if (!json) return json.error();
  const auto text = json->is_object() ? json->find("text") : json->end();
  if (text == json->end() || !text->is_string()) {
    return base::Error{
        base::Code::kVersionMismatch,
        "the metrics of the sidecar have no \"text\"; nacelled and nacellectl are of "
        "different versions"};
  }
  return text->get<std::string>();
}

base::Result<StatisticsView> Client::watch() {
  base::Fd page;
  const auto json = call(kWatch, Json::object(), &page);
  if (!json) return json.error();
  if (!page) {
    return base::Error{base::Code::kVersionMismatch, "the sidecar passed no statistics page"};
  }
  return StatisticsView::map(page);
}

base::Result<StatisticsView> StatisticsView::map(const base::Fd& fd) {
  struct stat status {};
  // Reading past the end of a file that was cut short is SIGBUS: only sealed ones are mapped.
  const int seals = ::fcntl(fd.get(), F_GET_SEALS);
  if (::fstat(fd.get(), &status) != 0 || status.st_size != sizeof(StatisticsPage) || seals < 0 ||
      (seals & F_SEAL_SHRINK) == 0) {
    return base::Error{base::Code::kVersionMismatch,
                       "the statistics page of the sidecar has another size; nacelled and "
                       "nacellectl are of different versions"};
  }
  void* const memory = ::mmap(nullptr, sizeof(StatisticsPage), PROT_READ, MAP_SHARED, fd.get(), 0);
  if (memory == MAP_FAILED) {
    return base::Error{base::Code::kUnavailable,
                       "cannot map the statistics page: " + base::errno_text(errno)};
  }
  StatisticsView view({static_cast<const std::byte*>(memory), sizeof(StatisticsPage)});
  const auto& page = *static_cast<const StatisticsPage*>(memory);
  if (page.magic != kStatisticsMagic || page.version != kStatisticsVersion) {
    return base::Error{base::Code::kVersionMismatch,
                       "the statistics page of the sidecar is of another version than nacellectl"};
  }
  return view;
}

StatisticsView::~StatisticsView() {
  if (page_.data() != nullptr) {
    ::munmap(const_cast<std::byte*>(page_.data()), page_.size());
  }
}

base::Result<Statistics> StatisticsView::read() const {
  // The writer may have lost its CPU in the middle: it gets two seconds.
  constexpr int kLooks = 100;
  constexpr int kPauseMs = 20;
  for (int look = 0; look < kLooks; ++look) {
    if (auto statistics = read_statistics(page_)) return *std::move(statistics);
    ::poll(nullptr, 0, kPauseMs);
  }
  return base::Error{base::Code::kUnavailable,
                     "the statistics page cannot be read: its sidecar is stopped or has died"};
}

base::Result<TraceReport> Client::trace(std::uint64_t last) {
  const auto json = call(kTrace, {{"last", last}});
  if (!json) return json.error();
  return trace_from_json(*json);
}

base::Result<std::vector<sidecar::Option>> Client::options(std::string_view option) {
  Json arguments = Json::object();
  if (!option.empty()) arguments["option"] = option;
  const auto json = call(kConfig, arguments);
  if (!json) return json.error();
  return options_from_json(*json);
}

}  // namespace nacelle::control
