// An HTTP server on Unix sockets: connections that are kept, one request at a time on each. Bodies
// are read and counted, not parsed: what a real caller would spend on that is left out.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "bench/serve/http_reply.h"
#include "bench/serve/target.h"
#include "sidecar/base/fd.h"
#include "sidecar/base/file.h"

namespace nacelle::bench::serve {
namespace {

using base::Code;
using base::Error;
using base::Nanos;

constexpr std::size_t kReadSize = 16 << 10;
constexpr int kWarmUpMs = 30'000;
constexpr Nanos kTimeoutDefault = 30 * base::kSecond;  // as Nacelle's

base::Result<base::Fd> dial(const std::string& path) {
  base::Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return Error{Code::kInvalid, "the path of a socket is too long: " + path};
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  // Connected before it is non-blocking: on a Unix socket that waits for room in the backlog only.
  if (!socket ||
      ::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::fcntl(socket.get(), F_SETFL, O_NONBLOCK) != 0) {
    return Error{Code::kUnavailable, "cannot connect to " + path + ": " + base::errno_text(errno)};
  }
  return socket;
}

struct Connection {
  std::string path;
  base::Fd socket;
  std::optional<std::uint64_t> id;  // of the request under way
  Nanos deadline = 0;               // its
  std::string out;                  // bytes not yet written
  std::string in;
};

class HttpTarget : public Target {
 public:
  HttpTarget(std::vector<std::string> requests, std::vector<Connection> connections)
      : requests_(std::move(requests)), connections_(std::move(connections)) {
    for (std::size_t i = 0; i < connections_.size(); ++i) free_.push_back(i);
  }

  [[nodiscard]] bool room() const override { return !free_.empty(); }

  void start(std::uint64_t id, std::uint32_t text, Nanos timeout,
             std::vector<Ended>& ended) override {
    const std::size_t index = free_.back();
    free_.pop_back();
    Connection& connection = connections_[index];
    connection.id = id;
    connection.deadline = base::now_ns() + (timeout > 0 ? timeout : kTimeoutDefault);
    connection.out = requests_[text];
    go_on(index, ended);
  }

  bool give_up(std::uint64_t id) override {
    for (std::size_t i = 0; i < connections_.size(); ++i) {
      if (connections_[i].id != id) continue;
      reconnect(i);
      return true;
    }
    return false;
  }

  void advance(std::vector<Ended>& ended) override {
    for (std::size_t i = 0; i < connections_.size(); ++i) {
      if (connections_[i].id) go_on(i, ended);
    }
  }

  void watch(std::vector<pollfd>& descriptors) const override {
    for (const Connection& connection : connections_) {
      if (!connection.id) continue;
      const bool writing = !connection.out.empty();
      descriptors.push_back(
          {connection.socket.get(), static_cast<short>(writing ? POLLIN | POLLOUT : POLLIN), 0});
    }
  }

  [[nodiscard]] const std::string& complaint() const override { return complaint_; }

 private:
  void go_on(std::size_t index, std::vector<Ended>& ended) {
    Connection& connection = connections_[index];
    if (!write(connection) || !read(connection)) {
      complaint_ = "the server closed a connection";
      return end(index, Outcome::kFailed, 0, true, ended);
    }
    const std::optional<HttpReply> reply = parse_reply(connection.in);
    if (reply && (reply->broken || reply->size != connection.in.size())) {
      complaint_ = "a reply that is not understood: " + connection.in.substr(0, 80);
      return end(index, Outcome::kFailed, 0, true, ended);
    }
    if (reply) {
      Outcome outcome = Outcome::kFailed;
      if (reply->status == 200) outcome = Outcome::kOk;
      if (reply->status == 503 || reply->status == 429) outcome = Outcome::kBusy;
      if (outcome == Outcome::kFailed) complaint_ = "status " + std::to_string(reply->status);
      return end(index, outcome, reply->retry_after_s * 1'000'000U, false, ended);
    }
    // The answer would be taken for the next request's: a new connection.
    if (base::now_ns() >= connection.deadline) end(index, Outcome::kDeadline, 0, true, ended);
  }

  static bool write(Connection& connection) {
    while (!connection.out.empty()) {
      const ssize_t done = ::send(connection.socket.get(), connection.out.data(),
                                  connection.out.size(), MSG_NOSIGNAL);
      if (done < 0 && errno == EAGAIN) return true;
      if (done < 0 && errno != EINTR) return false;
      if (done > 0) connection.out.erase(0, static_cast<std::size_t>(done));
    }
    return true;
  }

  static bool read(Connection& connection) {
    char bytes[kReadSize];
    for (;;) {
      const ssize_t done = ::recv(connection.socket.get(), bytes, sizeof bytes, 0);
      if (done < 0 && errno == EAGAIN) return true;
      if (done < 0 && errno == EINTR) continue;
      if (done <= 0) return false;
      connection.in.append(bytes, static_cast<std::size_t>(done));
      if (connection.in.size() > 2 * kHttpReplyMax) return true;  // parse_reply() refuses it
    }
  }

  void end(std::size_t index, Outcome outcome, std::uint32_t retry_after_us, bool anew,
           std::vector<Ended>& ended) {
    Connection& connection = connections_[index];
    ended.push_back({*connection.id, outcome, retry_after_us});
    if (anew) return reconnect(index);
    connection.id.reset();
    connection.in.clear();
    free_.push_back(index);
  }

  void reconnect(std::size_t index) {
    Connection& connection = connections_[index];
    auto socket = dial(connection.path);
    if (!socket) complaint_ = socket.error().message;
    // Without one its next request fails, and tries again.
    connection.socket = socket ? *std::move(socket) : base::Fd();
    connection.id.reset();
    connection.out.clear();
    connection.in.clear();
    free_.push_back(index);
  }

  const std::vector<std::string> requests_;  // by text
  std::vector<Connection> connections_;
  std::vector<std::size_t> free_;  // the last used first
  std::string complaint_;
};

}  // namespace

base::Result<std::unique_ptr<Target>> connect_http(const Question& question,
                                                   std::uint32_t connections, std::uint32_t first) {
  std::vector<std::string> requests;
  requests.reserve(question.texts.size());
  for (const std::string& text : question.texts) requests.push_back(make_request(text));
  std::vector<Connection> made(connections);
  for (std::uint32_t i = 0; i < connections; ++i) {
    made[i].path = question.sockets[(first + i) % question.sockets.size()];
    auto socket = dial(made[i].path);
    if (!socket) return socket.error();
    made[i].socket = *std::move(socket);
  }
  auto target = std::make_unique<HttpTarget>(std::move(requests), std::move(made));
  // One of them answers once; the server takes the others meanwhile.
  std::vector<Ended> ended;
  target->start(0, 0, 0, ended);
  std::vector<pollfd> descriptors;
  while (ended.empty()) {
    descriptors.clear();
    target->watch(descriptors);
    if (::poll(descriptors.data(), descriptors.size(), kWarmUpMs) == 0) break;
    target->advance(ended);
  }
  if (ended.empty() || ended.front().outcome != Outcome::kOk) {
    return Error{Code::kUnavailable, "the server does not answer: " + target->complaint()};
  }
  return std::unique_ptr<Target>(std::move(target));
}

}  // namespace nacelle::bench::serve
