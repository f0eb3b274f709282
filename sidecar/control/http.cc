#include "sidecar/control/http.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <cerrno>
#include <csignal>
#include <optional>
#include <thread>
#include <utility>

#include "sidecar/base/address.h"
#include "sidecar/base/check.h"
#include "sidecar/base/fd.h"
#include "sidecar/base/file.h"
#include "sidecar/base/time.h"

namespace nacelle::control {
namespace {

namespace http = boost::beast::http;

// After the system ran out of descriptors, how long until the next attempt to accept.
constexpr base::Nanos kAcceptPause = 100 * base::kMillisecond;
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
  Loop(HttpOptions options, std::vector<HttpRoute> routes, base::Fd listener, base::Fd wake)
      : options_(std::move(options)),
        routes_(std::move(routes)),
        listener_(std::move(listener)),
        wake_(std::move(wake)) {
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);  // SIGTERM is for the main thread
    thread_ = std::thread([this] { run(); });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  ~Loop() {
    const std::uint64_t one = 1;
    CHECK(::write(wake_.get(), &one, sizeof one) == sizeof one);
    thread_.join();
  }

  [[nodiscard]] std::uint16_t port() const {
    sockaddr_storage storage{};
    socklen_t size = sizeof storage;
    if (::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&storage), &size) != 0) return 0;
    const bool v6 = storage.ss_family == AF_INET6;
    return ntohs(v6 ? reinterpret_cast<const sockaddr_in6*>(&storage)->sin6_port
                    : reinterpret_cast<const sockaddr_in*>(&storage)->sin_port);
  }

 private:
  using State = Connection::State;

  void run() {
    while (true) {
      wait();
      if (polled_[0].revents != 0) return;
      const base::Nanos now = base::now_ns();
      // polled_[2 + i] belongs to connections_[i]; accept() only appends.
      for (std::size_t i = 0; i + 2 < polled_.size(); ++i) {
        if (polled_[2 + i].revents != 0) serve(connections_[i], now);
      }
      if (polled_[1].revents != 0) accept(now);
      std::erase_if(connections_, [now](const Connection& connection) {
        return connection.state == State::kDone || connection.deadline <= now;
      });
    }
  }

  // Polls until something is ready or the nearest deadline.
  void wait() {
    const base::Nanos now = base::now_ns();
    const bool paused = accept_after_ > now;
    base::Nanos until = paused ? accept_after_ : base::kNever;
    polled_.clear();
    polled_.push_back({.fd = wake_.get(), .events = POLLIN, .revents = 0});
    polled_.push_back({.fd = paused ? -1 : listener_.get(), .events = POLLIN, .revents = 0});
    for (const Connection& connection : connections_) {
      until = std::min(until, connection.deadline);
      const short events = connection.state == State::kWriting ? POLLOUT : POLLIN;
      polled_.push_back({.fd = connection.fd.get(), .events = events, .revents = 0});
    }
    constexpr base::Nanos kWaitMax = 3'600 * base::kSecond;
    const base::Nanos left = std::clamp<base::Nanos>(until - now, 0, kWaitMax);
    const auto milliseconds =
        static_cast<int>((left + base::kMillisecond - 1) / base::kMillisecond);
    if (::poll(polled_.data(), polled_.size(), milliseconds) < 0) {
      for (pollfd& entry : polled_) entry.revents = 0;
    }
  }

  void accept(base::Nanos now) {
    base::Fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd) {
      const bool gone = errno == EAGAIN || errno == ECONNABORTED || errno == EINTR;
      if (!gone) accept_after_ = now + kAcceptPause;
      return;
    }
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
  base::Fd listener_;
  base::Fd wake_;                        // an eventfd: readable means stop
  std::vector<Connection> connections_;  // oldest first, at most connections_max; of the thread
  std::vector<pollfd> polled_;           // wake_, listener_, connections_...; of the thread
  base::Nanos accept_after_ = 0;         // of the thread
  std::thread thread_;
};

base::Result<std::unique_ptr<HttpServer>> HttpServer::start(HttpOptions options,
                                                            std::vector<HttpRoute> routes) {
  const auto address = base::parse_address(options.listen);
  if (!address) {
    return base::Error{base::Code::kInvalid, "\"" + options.listen +
                                                 "\" is not an address like 127.0.0.1:9464 "
                                                 "(option metrics.listen)"};
  }
  base::Fd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  base::Fd listener(
      ::socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!wake || !listener) return refused(options.listen, base::errno_text(errno));
  const int on = 1;  // a sidecar that restarts finds its connections of before in TIME_WAIT
  ::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address->storage), address->size) !=
          0 ||
      ::listen(listener.get(), static_cast<int>(options.connections_max)) != 0) {
    return refused(options.listen, base::errno_text(errno));
  }
  auto loop = std::make_unique<Loop>(std::move(options), std::move(routes), std::move(listener),
                                     std::move(wake));
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
