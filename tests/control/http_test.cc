// The HTTP listener under friendly, slow, hostile and too many clients.
#include "sidecar/control/http.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "sidecar/base/check.h"
#include "sidecar/base/fd.h"
#include "sidecar/base/time.h"

namespace nacelle::control {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr int kPatienceMs = 20'000;  // for answers that should come at once

struct Listener {
  explicit Listener(HttpOptions options = {}, std::string page = "# HELP x X.\n") {
    options.listen = "127.0.0.1:0";
    auto started = HttpServer::start(
        std::move(options),
        all_pages([page = std::move(page)] { return page; }, [this] { return serving.load(); }));
    CHECK(started.has_value());
    server = *std::move(started);
  }
  std::atomic<bool> serving{true};
  std::unique_ptr<HttpServer> server;
};

class Visitor {
 public:
  explicit Visitor(const Listener& listener) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(listener.server->port());
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(::connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  }
  void send(std::string_view bytes) const {
    // A server that has hung up already is an answer, too.
    [[maybe_unused]] const ssize_t sent =
        ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  }
  void finish() const { ::shutdown(fd_.get(), SHUT_WR); }
  // Everything until the server hangs up.
  std::string rest() const {
    std::string text;
    const base::Nanos until = base::now_ns() + kPatienceMs * base::kMillisecond;
    while (base::now_ns() < until) {
      pollfd entry{.fd = fd_.get(), .events = POLLIN, .revents = 0};
      ::poll(&entry, 1, kPatienceMs);
      char chunk[4096];
      const ssize_t count = ::recv(fd_.get(), chunk, sizeof chunk, MSG_DONTWAIT);
      if (count <= 0) return text;
      text.append(chunk, static_cast<std::size_t>(count));
    }
    return text + "(no end)";
  }

 private:
  base::Fd fd_;
};

std::string ask(const Listener& listener, std::string_view request) {
  const Visitor visitor(listener);
  visitor.send(request);
  return visitor.rest();
}
std::string get(const Listener& listener, const std::string& path,
                const std::string& method = "GET") {
  return ask(listener, method + " " + path + " HTTP/1.1\r\nHost: x\r\n\r\n");
}

TEST(Http, ServesItsThreePages) {
  Listener listener;
  const std::string metrics = get(listener, "/metrics");
  EXPECT_THAT(metrics,
              AllOf(StartsWith("HTTP/1.1 200 OK\r\n"),
                    HasSubstr("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"),
                    HasSubstr("Content-Length: 12\r\n"), EndsWith("\r\n\r\n# HELP x X.\n")));
  EXPECT_THAT(get(listener, "/healthz"), EndsWith("\r\n\r\nok\n"));
  EXPECT_THAT(get(listener, "/readyz"), AllOf(StartsWith("HTTP/1.1 200"), EndsWith("ready\n")));
  listener.serving = false;
  EXPECT_THAT(get(listener, "/readyz"),
              AllOf(StartsWith("HTTP/1.1 503 Service Unavailable\r\n"), EndsWith("draining\n")));
  EXPECT_THAT(get(listener, "/healthz"), StartsWith("HTTP/1.1 200")) << "alive all the same";
}

TEST(Http, HeadHasTheHeadersAndNoBody) {
  const Listener listener;
  EXPECT_THAT(
      get(listener, "/metrics", "HEAD"),
      AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("Content-Length: 12\r\n"), EndsWith("\r\n\r\n")));
}

// Each row is a request that is answered with a refusal, and how the answer begins.
TEST(Http, OtherRequestsAreRefused) {
  const Listener listener;
  const std::pair<std::string, std::string> rows[] = {
      {"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 404"},
      {"GET /metrics/ HTTP/1.1\r\n\r\n", "HTTP/1.1 404"},
      {"GET /metrics/../etc/passwd HTTP/1.1\r\n\r\n", "HTTP/1.1 404"},
      {"GET http://x/metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 404"},
      {"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "HTTP/1.1 405"},
      {"DELETE /healthz HTTP/1.1\r\n\r\n", "HTTP/1.1 405"},
      {"BREW /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 405"},
      {"GET /metrics\r\n\r\n", "HTTP/1.1 400"},
      {"\r\n\r\n\r\n", "HTTP/1.1 400"},
      {"{\"verb\": \"status\"}\n\n", "HTTP/1.1 400"},
      {std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 9), "HTTP/1.1 400"},
      {"GET /metrics HTTP/1.1\r\nBroken header\r\n\r\n", "HTTP/1.1 400"},
      {"GET /metrics HTTP/1.1\r\nX: " + std::string(2 * kHttpHeadMax, 'x') + "\r\n\r\n",
       "HTTP/1.1 431"},
  };
  for (const auto& [request, begin] : rows) {
    const std::string answer = ask(listener, request);
    EXPECT_THAT(answer, StartsWith(begin)) << request.substr(0, 80);
    EXPECT_THAT(answer, Not(HasSubstr("# HELP"))) << request.substr(0, 80);
  }
  EXPECT_THAT(get(listener, "/metrics", "POST"), HasSubstr("Allow: GET, HEAD\r\n"));
  EXPECT_THAT(get(listener, "/metrics?name=x"), StartsWith("HTTP/1.1 200")) << "a query is ignored";
}

TEST(Http, ARequestMayComeByteByByte) {
  const Listener listener;
  const Visitor visitor(listener);
  for (const char c : std::string_view("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"))
    visitor.send({&c, 1});
  EXPECT_THAT(visitor.rest(), EndsWith("ok\n"));
}

TEST(Http, WhoSendsNothingInTimeIsHungUpOn) {
  const Listener listener({.read_timeout_ms = 50});
  const Visitor silent(listener);
  EXPECT_EQ(silent.rest(), "");
  const Visitor half(listener);
  half.send("GET /metrics HTTP/1.1\r\n");
  EXPECT_EQ(half.rest(), "");
}

TEST(Http, WhoEndsEarlyGetsNothing) {
  const Listener listener;
  const Visitor visitor(listener);
  visitor.send("GET /metrics HT");
  visitor.finish();
  EXPECT_EQ(visitor.rest(), "");
}

// Silent ones and ones that ask for a large page and do not read it, four times as many as fit:
// who asks properly is answered between any two of them.
TEST(Http, SlowClientsHoldNobodyUp) {
  const Listener listener({.connections_max = 4}, std::string(8 << 20, 'x'));
  std::vector<std::unique_ptr<Visitor>> slow;
  for (int i = 0; i < 16; ++i) {
    slow.push_back(std::make_unique<Visitor>(listener));
    if (i % 2 == 0) slow.back()->send("GET /metrics HTTP/1.1\r\n\r\n");
    EXPECT_THAT(get(listener, "/healthz"), EndsWith("ok\n")) << i;
  }
}

TEST(Http, ALargePageComesWhole) {
  const Listener listener({}, std::string(8 << 20, 'x'));
  EXPECT_THAT(get(listener, "/metrics").size(), ::testing::Gt(8U << 20));
}

// Random bytes, and requests with a byte changed: each ends in an answer or a hang-up, and the
// listener goes on.
TEST(Http, RandomBytesDoNoHarm) {
  constexpr unsigned kSeed = 3;
  std::mt19937 random(kSeed);
  const Listener listener({.read_timeout_ms = 2000});
  const std::string good = "GET /metrics?x=1 HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n";
  for (int i = 0; i < 300; ++i) {
    std::string bytes = good;
    if (i % 3 == 0) {
      bytes.resize(random() % 300);
      for (char& c : bytes) c = static_cast<char>(random());
    } else {
      for (unsigned n = 0; n <= random() % 4; ++n)
        bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    const Visitor visitor(listener);
    visitor.send(bytes);
    visitor.finish();
    const std::string answer = visitor.rest();
    if (!answer.empty()) {
      EXPECT_THAT(answer, StartsWith("HTTP/1.1 ")) << "seed " << kSeed << ", " << i;
    }
  }
  EXPECT_THAT(get(listener, "/healthz"), EndsWith("ok\n"));
}

TEST(Http, AnAddressThatIsNoneOrIsTakenIsNamed) {
  const Listener listener;
  const auto bad = HttpServer::start({.listen = "localhost"}, {});
  ASSERT_FALSE(bad);
  EXPECT_THAT(bad.error().message, HasSubstr("metrics.listen"));
  const std::string taken = "127.0.0.1:" + std::to_string(listener.server->port());
  const auto second = HttpServer::start({.listen = taken}, {});
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message, AllOf(HasSubstr(taken), HasSubstr("metrics.listen")));
}

}  // namespace
}  // namespace nacelle::control
