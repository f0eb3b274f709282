// The control socket under friendly, slow, hostile and too many clients.
#include "sidecar/control/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "sidecar/base/check.h"
#include "sidecar/base/file.h"
#include "sidecar/control/wire.h"
#include "tests/support/temp_dir.h"

namespace nacelle::control {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr int kPatienceMs = 20'000;  // for answers that should come at once

// A sidecar with the real verbs, on a socket of its own.
struct Sidecar {
  explicit Sidecar(ServerOptions options = {}, std::vector<Verb> more = {}) {
    options.path = path;
    StatusReport report;
    report.version = "1.2.3";
    report.state = "serving";
    std::vector<Verb> verbs = all_verbs({.status = [report] { return report; }, .options = {}});
    for (Verb& verb : more) verbs.push_back(std::move(verb));
    auto started = Server::start(std::move(options), std::move(verbs));
    CHECK(started.has_value());
    server = std::move(*started);
  }

  testing::TempDir folder;
  std::string path = folder / "control.sock";
  std::unique_ptr<Server> server;
};

// A client that writes what it likes. Blocking reads and writes, bounded by kPatienceMs.
class RawClient {
 public:
  explicit RawClient(const std::string& path)
      : RawClient(path, base::Fd(::socket(AF_UNIX, SOCK_STREAM, 0))) {}
  RawClient(const std::string& path, base::Fd fd) : fd_(std::move(fd)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    CHECK(::connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  }

  // False when the server closed the connection meanwhile.
  bool write(std::string_view bytes) const {
    return write_text(fd_.get(), bytes, soon()).has_value();
  }
  void finish_writing() const { CHECK(::shutdown(fd_.get(), SHUT_WR) == 0); }
  std::string line() const {
    const auto line = read_line(fd_.get(), kAnswerMax, soon());
    return line ? *line : "(" + line.error().message + ")";
  }
  // Whether the server hangs up. Waits for it.
  bool hung_up() const {
    const auto line = read_line(fd_.get(), kAnswerMax, soon());
    return !line && line.error().code == base::Code::kSidecarGone;
  }
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  static base::Nanos soon() { return base::now_ns() + kPatienceMs * base::kMillisecond; }
  base::Fd fd_;
};

Client connected(const std::string& path) {
  auto client = Client::connect(path, kPatienceMs);
  CHECK(client.has_value());
  return std::move(*client);
}

TEST(Server, AnswersManyQuestionsOnOneConnection) {
  const Sidecar sidecar;
  Client client = connected(sidecar.path);
  for (int i = 0; i < 100; ++i) {
    const auto status = client.status();
    ASSERT_TRUE(status) << status.error().message;
    EXPECT_EQ(status->version, "1.2.3");
  }
}

TEST(Server, OnlyTheOwnerCanReachTheSocketsFile) {
  const Sidecar sidecar;
  struct stat status {};
  ASSERT_EQ(::lstat(sidecar.path.c_str(), &status), 0);
  EXPECT_TRUE(S_ISSOCK(status.st_mode));
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
}

TEST(Server, AUserWhoIsNotAllowedIsToldSo) {
  const Sidecar sidecar({.allow_uid = [](uid_t) { return false; }});
  Client client = connected(sidecar.path);
  const auto status = client.status();
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, base::Code::kDenied);
  EXPECT_THAT(status.error().message, HasSubstr("user " + std::to_string(::geteuid())));
}

TEST(Server, ThePredicateSeesTheConnectingUser) {
  std::atomic<uid_t> seen{12345};
  const Sidecar sidecar({.allow_uid = [&seen](uid_t uid) {
    seen = uid;
    return true;
  }});
  EXPECT_TRUE(connected(sidecar.path).status());
  EXPECT_EQ(seen, ::geteuid());
}

// Each row: a line that is no question, and what the answer says. The connection goes on.
TEST(Server, MalformedLinesGetAClearErrorAndTheConnectionGoesOn) {
  const Sidecar sidecar;
  const RawClient client(sidecar.path);
  const std::pair<std::string, std::string> wrong[] = {
      {"", "\"invalid\""},
      {"status", "\"invalid\""},
      {"{", "\"invalid\""},
      {"[]", "not an object"},
      {"{}", "no \\\"verb\\\""},
      {R"({"verb": 7})", "no \\\"verb\\\""},
      {R"({"verb": "status", "extra": 1})", "has a key \\\"extra\\\""},
      {R"({"verb": "status", "arguments": []})", "not an object"},
      {R"({"verb": "status", "arguments": {"x": 1}})", "has no argument"},
      {R"({"verb": "config", "arguments": {"option": 1}})", "is not a string"},
      {R"({"verb": "staus"})", "did you mean \\\"status\\\"?"},
      {R"({"verb": ")" + std::string(60'000, 'v') + "\"}", "\"not_found\""},
      {std::string(60'000, '['), "\"invalid\""},
      {std::string("\0\xff\xfe\x80", 4), "\"invalid\""},
      {"{\"verb\": \"\xff\"}", "\"invalid\""},
  };
  for (const auto& [line, reason] : wrong) {
    ASSERT_TRUE(client.write(line + "\n"));
    EXPECT_THAT(client.line(), AllOf(StartsWith(R"({"error":{"code":)"), HasSubstr(reason)))
        << line.substr(0, 100);
  }
  ASSERT_TRUE(client.write("{\"verb\": \"status\"}\n"));
  EXPECT_THAT(client.line(), StartsWith(R"({"result":)"));
}

TEST(Server, ALineOfExactlyTheLimitIsReadAndOneByteMoreIsNot) {
  const Sidecar sidecar;
  const std::string question = R"({"verb": "status"})";
  const std::string padding(kQuestionMax - 1 - question.size(), ' ');
  const RawClient fits(sidecar.path);
  ASSERT_TRUE(fits.write(question + padding + "\n"));
  EXPECT_THAT(fits.line(), StartsWith(R"({"result":)"));

  const RawClient too_long(sidecar.path);
  too_long.write(question + padding + " \n");
  EXPECT_THAT(too_long.line(), AllOf(HasSubstr("too_large"), HasSubstr("65536")));
  EXPECT_TRUE(too_long.hung_up());
}

TEST(Server, AnEndlessLineIsCutOff) {
  const Sidecar sidecar;
  const RawClient client(sidecar.path);
  const std::string piece(1 << 16, 'x');
  int pieces = 0;
  while (pieces < 1000 && client.write(piece)) ++pieces;
  EXPECT_LT(pieces, 1000);
  EXPECT_TRUE(connected(sidecar.path).status()) << "others are served";
}

TEST(Server, ALineMayComeByteByByteOrManyAtOnce) {
  const Sidecar sidecar;
  const RawClient client(sidecar.path);
  const std::string question = "{\"verb\": \"status\"}\n";
  for (const char c : question) ASSERT_TRUE(client.write(std::string_view(&c, 1)));
  EXPECT_THAT(client.line(), StartsWith(R"({"result":)"));

  std::string many;
  for (int i = 0; i < 50; ++i) many += question;
  ASSERT_TRUE(client.write(many));
  client.finish_writing();
  // RawClient::line() drops what follows the first line of a read, so the answers are counted here.
  std::string answers;
  char chunk[4096];
  for (ssize_t count = 1; count > 0;) {
    count = ::recv(client.fd(), chunk, sizeof chunk, 0);
    if (count > 0) answers.append(chunk, static_cast<std::size_t>(count));
  }
  EXPECT_EQ(std::count(answers.begin(), answers.end(), '\n'), 50);
}

TEST(Server, ALastLineWithoutItsEndIsAnswered) {
  const Sidecar sidecar;
  const RawClient client(sidecar.path);
  ASSERT_TRUE(client.write(R"({"verb": "status"})"));
  client.finish_writing();
  EXPECT_THAT(client.line(), StartsWith(R"({"result":)"));
  EXPECT_TRUE(client.hung_up());
}

TEST(Server, AClientThatSaysNothingIsHungUpOn) {
  const Sidecar sidecar({.idle_timeout_ms = 1});
  const RawClient silent(sidecar.path);
  EXPECT_TRUE(silent.hung_up());
  const RawClient dripping(sidecar.path);
  dripping.write("{");  // half a line buys no time
  EXPECT_TRUE(dripping.hung_up());
}

TEST(Server, AClientThatDoesNotReadIsHungUpOn) {
  const std::string large(900'000, 'x');
  const Sidecar sidecar(
      {.write_timeout_ms = 1},
      {{"large", [&](const Json&) -> base::Result<Json> { return Json(large); }}});
  const RawClient client(sidecar.path);
  ASSERT_TRUE(client.write("{\"verb\": \"large\"}\n"));
  // The server hangs up with most of the answer unwritten. Until then this end only watches.
  pollfd entry{.fd = client.fd(), .events = 0, .revents = 0};
  EXPECT_EQ(::poll(&entry, 1, kPatienceMs), 1);
  EXPECT_TRUE(entry.revents & POLLHUP);
  EXPECT_TRUE(connected(sidecar.path).status()) << "others are served";
}

TEST(Server, AnAnswerOverTheLimitBecomesAnError) {
  const std::string huge(kAnswerMax, 'x');
  const Sidecar sidecar({},
                        {{"huge", [&](const Json&) -> base::Result<Json> { return Json(huge); }}});
  const auto answer = connected(sidecar.path).call("huge", Json::object());
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, base::Code::kTooLarge);
}

TEST(Server, AnErrorOfAVerbKeepsItsCodeAndWords) {
  const Sidecar sidecar({}, {{"fail", [](const Json&) -> base::Result<Json> {
                                return base::Error{base::Code::kUnavailable, "no \"device\"\n"};
                              }}});
  const auto answer = connected(sidecar.path).call("fail", Json::object());
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, base::Code::kUnavailable);
  EXPECT_EQ(answer.error().message, "no \"device\"\n");
}

TEST(Server, ConnectionsAreBoundedAndAFreedOneIsUsedAgain) {
  const Sidecar sidecar({.connections_max = 2});
  {
    Client first = connected(sidecar.path);
    Client second = connected(sidecar.path);
    ASSERT_TRUE(first.status());
    ASSERT_TRUE(second.status());
    Client third = connected(sidecar.path);
    const auto refused = third.status();
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, base::Code::kBusy);
    EXPECT_THAT(refused.error().message, HasSubstr("control.connections_max"));
    EXPECT_TRUE(first.status()) << "those inside go on";
  }
  // The server notices the two hang-ups before or after it accepts the next ones: try until then.
  bool served = false;
  for (int attempt = 0; attempt < 100'000 && !served; ++attempt) {
    auto client = Client::connect(sidecar.path, kPatienceMs);
    served = client && client->status().has_value();
  }
  EXPECT_TRUE(served);
}

TEST(Server, RunningOutOfDescriptorsDelaysANewClientAndLosesNobody) {
  const Sidecar sidecar;
  Client inside = connected(sidecar.path);
  ASSERT_TRUE(inside.status());

  // The lowest free number is the client's; from it on the process has no more.
  base::Fd socket(::socket(AF_UNIX, SOCK_STREAM, 0));
  rlimit normal{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &normal), 0);
  rlimit exhausted = normal;
  exhausted.rlim_cur = static_cast<rlim_t>(socket.get()) + 1;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &exhausted), 0);
  const RawClient waiting(sidecar.path, std::move(socket));
  const bool written = waiting.write("{\"verb\": \"status\"}\n");
  const bool others_served = inside.status().has_value() && inside.status().has_value();
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &normal), 0);

  EXPECT_TRUE(written);
  EXPECT_TRUE(others_served);
  EXPECT_THAT(waiting.line(), StartsWith(R"({"result":)"));
}

TEST(Server, ManyClientsAtOnceAreAllAnswered) {
  const Sidecar sidecar({.connections_max = 16});
  std::atomic<int> answered{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 20; ++round) {
        auto client = Client::connect(sidecar.path, kPatienceMs);
        if (client && client->status()) ++answered;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(answered, 8 * 20);
}

TEST(Server, StopsWhileClientsAreConnectedAndRemovesItsFile) {
  Sidecar sidecar;
  const RawClient idle(sidecar.path);
  ASSERT_TRUE(idle.write("{\"verb\": \"status\"}\n"));
  EXPECT_THAT(idle.line(), StartsWith(R"({"result":)"));
  sidecar.server.reset();
  EXPECT_TRUE(idle.hung_up());
  EXPECT_NE(::access(sidecar.path.c_str(), F_OK), 0);
  const auto client = Client::connect(sidecar.path, kPatienceMs);
  ASSERT_FALSE(client);
  EXPECT_EQ(client.error().code, base::Code::kUnavailable);
}

TEST(Server, ASecondSidecarTakesTheNameAndTheFirstLeavesItThere) {
  Sidecar first;
  auto second = Server::start(
      {.path = first.path}, {{"second", [](const Json&) { return base::Result<Json>(Json(2)); }}});
  ASSERT_TRUE(second) << second.error().message;
  first.server.reset();
  const auto answer = connected(first.path).call("second", Json::object());
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(*answer, 2);
}

TEST(Server, NoTemporaryNameStaysBehind) {
  const Sidecar sidecar;
  int files = 0;
  for ([[maybe_unused]] const auto& file :
       std::filesystem::directory_iterator(sidecar.folder.path())) {
    ++files;
  }
  EXPECT_EQ(files, 1);
}

TEST(Server, PathsThatCannotBeASocketAreRefused) {
  const testing::TempDir folder;
  const auto refusal = [](const std::string& path) {
    const auto server = Server::start({.path = path}, {});
    return server ? "started" : server.error().message;
  };
  EXPECT_THAT(refusal(folder.write("file", "precious")), HasSubstr("not a socket has that name"));
  EXPECT_THAT(refusal(folder / "missing/control.sock"), HasSubstr("does not exist; create it"));
  EXPECT_THAT(refusal(folder / std::string(200, 'x')), HasSubstr("1 to 107 bytes"));
  EXPECT_THAT(refusal(""), HasSubstr("1 to 107 bytes"));
  EXPECT_EQ(base::read_file(folder / "file", 100).value(), "precious");
}

// Whatever the bytes are, the server answers the next client.
TEST(Server, GarbageHarmsNobody) {
  const Sidecar sidecar;
  constexpr unsigned kSeed = 4711;
  std::mt19937 random(kSeed);
  for (int round = 0; round < 50; ++round) {
    const RawClient client(sidecar.path);
    std::string garbage(random() % 5000, '\0');
    for (char& c : garbage) c = static_cast<char>(random());
    client.write(garbage);
    ASSERT_TRUE(connected(sidecar.path).status()) << "seed " << kSeed << " round " << round;
  }
}

}  // namespace
}  // namespace nacelle::control
