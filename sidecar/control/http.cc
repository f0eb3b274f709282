#include "sidecar/control/http.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <cerrno>
#include <optional>
#include <utility>

#include "sidecar/base/address.h"
#include "sidecar/base/fd.h"
#include "sidecar/base/file.h"
#include "sidecar/base/time.h"
#include "sidecar/control/poll_thread.h"

namespace nacelle::control {
namespace {

namespace http = boost::beast::http;

// How long a client that has its answer may take to hang up. Closing before it has read everything
// could take the answer away from it, when bytes of its own are still under way.
constexpr base::Nanos kLinger = base::kSecond;

struct Connection {
  enum class State { kReading, kWriting, kLingering, kDone };
  base::Fd fd;
  State state = State::kReading;
  base::Nanos deadline = 0;
  std::string in;  // at most kHttpHeadMax + 1 bytes
  std::string out;
  std::size_t sent = 0;
};

std::string_view reason(unsigned status) {
  const auto known = http::int_to_status(status);
  return known == http::status::unknown ? std::string_view("Unknown")
                                        : std::string_view(http::obsolete_reason(known).data(),
                                                           http::obsolete_reason(known).size());
}

std::string response(const HttpPage& page, bool with_body) {
  std::string text =
      "HTTP/1.1 " + std::to_string(page.status) + " " + std::string(reason(page.status)) + "\r\n";
  text += "Content-Type: " + page.type + "\r\n";
  text += "Content-Length: " + std::to_string(page.body.size()) + "\r\n";
  if (page.status == 405) text += "Allow: GET, HEAD\r\n";
  text += "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n";
  if (with_body) text += page.body;
  return text;
}

HttpPage problem(unsigned status, const std::string& words) {
  return {.status = status, .body = words + "\n"};
}

// The answer to the bytes of a request so far; nothing while its head is not whole.
std::optional<std::string> answer_to_head(std::string_view in,
                                          const std::vector<HttpRoute>& routes) {
  http::request_parser<http::empty_body> parser;
  parser.header_limit(kHttpHeadMax);
  parser.eager(false);  // the head alone: what may follow it is of no interest
  boost::system::error_code error;
  parser.put(boost::asio::const_buffer(in.data(), in.size()), error);
  const bool more = error == http::error::need_more || (!error && !parser.is_header_done());
  if (more && in.size() <= kHttpHeadMax) return std::nullopt;
  if (more || error == http::error::header_limit) {
    return response(problem(431, "the head of a request has at most " +
                                     std::to_string(kHttpHeadMax) + " bytes"),
                    true);
  }
  if (error) return response(problem(400, "not a request of HTTP/1.1"), true);
  const auto method = parser.get().method();
  const bool head = method == http::verb::head;
  if (method != http::verb::get && !head) {
    return response(problem(405, "only GET and HEAD are served"), true);
  }
  std::string_view path(parser.get().target().data(), parser.get().target().size());
  path = path.substr(0, path.find('?'));
  for (const HttpRoute& route : routes) {
    if (route.path == path) return response(route.page(), !head);
  }
  std::string paths;
  for (const HttpRoute& route : routes)
    paths += (paths.empty() ? "" : ", ") + std::string(route.path);
  return response(problem(404, "there are " + paths), !head);
}

base::Error refused(const std::string& listen, const std::string& why) {
  return {base::Code::kUnavailable,
          "cannot listen at " + listen + ": " + why + " (option metrics.listen)"};
}

}  // namespace

class HttpServer::Loop {
 public:
  Loop(HttpOptions options, std::vector<HttpRoute> routes, PollThread thread)
      : options_(std::move(options)), routes_(std::move(routes)), thread_(std::move(thread)) {
    thread_.start([this] { run(); });
  }
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  ~Loop() { thread_.stop(); }

  [[nodiscard]] std::uint16_t port() const {
    sockaddr_storage storage{};
    socklen_t size = sizeof storage;
    if (::getsockname(thread_.listener(), reinterpret_cast<sockaddr*>(&storage), &size) != 0)
      return 0;
    const bool v6 = storage.ss_family == AF_INET6;
    return ntohs(v6 ? reinterpret_cast<const sockaddr_in6*>(&storage)->sin6_port
                    : reinterpret_cast<const sockaddr_in*>(&storage)->sin_port);
  }

 private:
  using State = Connection::State;

  void run() {
    while (wait()) {
      const base::Nanos now = base::now_ns();
      for (std::size_t i = 0; i < thread_.size(); ++i) {
        if (thread_.events(i) != 0) serve(connections_[i], now);
      }
      accept(now);  // only appends, but for the oldest one's place
      std::erase_if(connections_, [now](const Connection& connection) {
        return connection.state == State::kDone || connection.deadline <= now;
      });
    }
  }

  // Until something is ready or the nearest deadline. False: the end.
  bool wait() {
    base::Nanos until = base::kNever;
    thread_.begin();
    for (const Connection& connection : connections_) {
      until = std::min(until, connection.deadline);
      thread_.add(connection.fd.get(), connection.state == State::kWriting ? POLLOUT : POLLIN);
    }
    return thread_.wait(until);
  }

  void accept(base::Nanos now) {
    base::Fd fd = thread_.accept();
    if (!fd) return;
    // Whoever asks at once is answered at once: those that have been here longest are the slow
    // ones.
    if (connections_.size() >= options_.connections_max) connections_.erase(connections_.begin());
    Connection connection;
    connection.fd = std::move(fd);
    connection.deadline = now + options_.read_timeout_ms * base::kMillisecond;
    connections_.push_back(std::move(connection));
  }

  void serve(Connection& connection, base::Nanos now) {
    if (connection.state == State::kReading) receive(connection, now);
    if (connection.state == State::kWriting) send(connection, now);
    if (connection.state == State::kLingering) discard(connection);
  }

  void receive(Connection& connection, base::Nanos now) {
    char chunk[4 << 10];
    const std::size_t room = kHttpHeadMax + 1 - connection.in.size();
    const ssize_t count = ::recv(connection.fd.get(), chunk, std::min(room, sizeof chunk), 0);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (count <= 0) {
      connection.state = State::kDone;
      return;
    }
    connection.in.append(chunk, static_cast<std::size_t>(count));
    auto answer = answer_to_head(connection.in, routes_);
    if (!answer) return;
    connection.out = *std::move(answer);
    connection.state = State::kWriting;
    connection.deadline = now + options_.write_timeout_ms * base::kMillisecond;
  }

  static void send(Connection& connection, base::Nanos now) {
    const ssize_t count =
        ::send(connection.fd.get(), connection.out.data() + connection.sent,
               connection.out.size() - connection.sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0) {
      if (errno != EAGAIN && errno != EINTR) connection.state = State::kDone;
      return;
    }
    connection.sent += static_cast<std::size_t>(count);
    if (connection.sent < connection.out.size()) return;
    connection.out = {};
    ::shutdown(connection.fd.get(), SHUT_WR);
    connection.state = State::kLingering;
    connection.deadline = now + kLinger;
  }

  // One piece each time, so that who never stops sending has no more than its turn.
  static void discard(Connection& connection) {
    char chunk[4 << 10];
    const ssize_t count = ::recv(connection.fd.get(), chunk, sizeof chunk, MSG_DONTWAIT);
    if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) {
      connection.state = State::kDone;
    }
  }

  HttpOptions options_;
  std::vector<HttpRoute> routes_;
  std::vector<Connection> connections_;  // oldest first, at most connections_max; of the thread
  PollThread thread_;
};

base::Result<std::unique_ptr<HttpServer>> HttpServer::start(HttpOptions options,
                                                            std::vector<HttpRoute> routes) {
  const auto address = base::parse_address(options.listen);
  if (!address) {
    return base::Error{base::Code::kInvalid, "\"" + options.listen +
                                                 "\" is not an address like 127.0.0.1:9464 "
                                                 "(option metrics.listen)"};
  }
  base::Fd listener(
      ::socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener) return refused(options.listen, base::errno_text(errno));
  const int on = 1;  // a sidecar that restarts finds its connections of before in TIME_WAIT
  ::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address->storage), address->size) !=
          0 ||
      ::listen(listener.get(), static_cast<int>(options.connections_max)) != 0) {
    return refused(options.listen, base::errno_text(errno));
  }
  auto thread = PollThread::of(std::move(listener));
  if (!thread) return refused(options.listen, thread.error().message);
  auto loop = std::make_unique<Loop>(std::move(options), std::move(routes), *std::move(thread));
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(loop)));
}

HttpServer::HttpServer(std::unique_ptr<Loop> loop) : loop_(std::move(loop)) {}
HttpServer::~HttpServer() = default;
std::uint16_t HttpServer::port() const { return loop_->port(); }

std::vector<HttpRoute> all_pages(std::function<std::string()> metrics,
                                 std::function<bool()> serving) {
  return {
      {"/metrics",
       [metrics = std::move(metrics)] {
         return HttpPage{.type = "text/plain; version=0.0.4; charset=utf-8", .body = metrics()};
       }},
      {"/healthz", [] { return HttpPage{.body = "ok\n"}; }},
      {"/readyz",
       [serving = std::move(serving)] {
         return serving() ? HttpPage{.body = "ready\n"}
                          : HttpPage{.status = 503, .body = "draining\n"};
       }},
  };
}

}  // namespace nacelle::control
