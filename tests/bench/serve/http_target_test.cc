// The HTTP side of the load generator, against a server on a thread that follows a script.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <string>
#include <thread>
#include <utility>

#include "bench/serve/target.h"
#include "sidecar/base/check.h"
#include "sidecar/base/fd.h"
#include "tests/support/temp_dir.h"

namespace nacelle::bench::serve {
namespace {

const std::string kOk = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
const std::string kBusy =
    "HTTP/1.1 503 Service Unavailable\r\nretry-after: 2\r\ncontent-length: 0\r\n\r\n";
const std::string kError = "HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n";
const std::string kHangUp = "hang up";
const std::string kSilence = "silence";  // until the client hangs up

// One connection at a time; each request is answered by the next word of the script, and then kOk.
class Server {
 public:
  Server(std::string path, std::vector<std::string> script) : script_(std::move(script)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    listener_ = base::Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    CHECK(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    CHECK(::listen(listener_.get(), 16) == 0);
    thread_ = std::thread([this] {
      for (;;) {
        const base::Fd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (!client) return;
        while (serve(client.get())) {
        }
      }
    });
  }
  // The clients have hung up by then.
  ~Server() {
    ::shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  [[nodiscard]] std::size_t requests() const { return requests_.load(); }

 private:
  // One request; false when the connection is over.
  bool serve(int client) {
    std::string request;
    char byte = 0;
    while (request.find("\r\n\r\n{\"text\":\"") == std::string::npos || byte != '}') {
      if (::read(client, &byte, 1) != 1) return false;
      request += byte;
    }
    const std::size_t number = requests_++;
    const std::string& reply = number < script_.size() ? script_[number] : kOk;
    if (reply == kHangUp) return false;
    if (reply == kSilence) return ::read(client, &byte, 1) == 1;
    const std::size_t half = reply.size() / 2;  // pieces that end anywhere
    return ::write(client, reply.data(), half) == static_cast<ssize_t>(half) &&
           ::write(client, reply.data() + half, reply.size() - half) ==
               static_cast<ssize_t>(reply.size() - half);
  }

  const std::vector<std::string> script_;
  base::Fd listener_;
  std::atomic<std::size_t> requests_{0};
  std::thread thread_;
};

class HttpTargetTest : public ::testing::Test {
 protected:
  // Connects; the first word of the script answers the request that proves the connection.
  void connect(std::vector<std::string> script) {
    server_ = std::make_unique<Server>(dir_ / "socket", std::move(script));
    question_.sockets = {dir_ / "socket"};
    question_.texts = {"one", "two"};
    auto made = connect_http(question_, 1, 0);
    ASSERT_TRUE(made) << made.error().message;
    target_ = *std::move(made);
  }

  Ended ask(base::Nanos timeout = 0) {
    std::vector<Ended> ended;
    target_->start(++last_, 1, timeout, ended);
    while (ended.empty()) {
      std::vector<pollfd> descriptors;
      target_->watch(descriptors);
      EXPECT_FALSE(descriptors.empty());
      ::poll(descriptors.data(), descriptors.size(), timeout > 0 ? 1 : -1);
      target_->advance(ended);
    }
    EXPECT_EQ(ended.size(), 1U);
    EXPECT_EQ(ended.front().id, last_);
    EXPECT_TRUE(target_->room());
    return ended.front();
  }

  testing::TempDir dir_;
  std::unique_ptr<Server> server_;
  Question question_;
  std::unique_ptr<Target> target_;
  std::uint64_t last_ = 0;

  void TearDown() override { target_.reset(); }
};

TEST_F(HttpTargetTest, RepliesEndRequestsOnAConnectionThatIsKept) {
  connect({});
  for (int i = 0; i < 5; ++i) EXPECT_EQ(ask().outcome, Outcome::kOk);
  EXPECT_EQ(server_->requests(), 6U);
}

TEST_F(HttpTargetTest, ARefusalCarriesTheTimeToComeBack) {
  connect({kOk, kBusy});
  const Ended busy = ask();
  EXPECT_EQ(busy.outcome, Outcome::kBusy);
  EXPECT_EQ(busy.retry_after_us, 2'000'000U);
  EXPECT_EQ(ask().outcome, Outcome::kOk);
}

TEST_F(HttpTargetTest, OtherAnswersAreFailuresAndTheNextRequestIsServed) {
  connect({kOk, kError, kHangUp, "nonsense\r\n\r\n", kOk + "x"});
  for (const char* why : {"500", "closed", "not understood", "not understood"}) {
    EXPECT_EQ(ask().outcome, Outcome::kFailed);
    EXPECT_NE(target_->complaint().find(why), std::string::npos) << target_->complaint();
  }
  EXPECT_EQ(ask().outcome, Outcome::kOk);
}

TEST_F(HttpTargetTest, WhatIsNotAnsweredInTimeIsTakenForNoOtherRequestsAnswer) {
  connect({kOk, kSilence});
  EXPECT_EQ(ask(base::kMillisecond).outcome, Outcome::kDeadline);
  EXPECT_EQ(ask().outcome, Outcome::kOk);
}

TEST_F(HttpTargetTest, ARequestThatIsGivenUpMakesRoom) {
  connect({kOk, kSilence});
  std::vector<Ended> ended;
  target_->start(7, 0, 0, ended);
  EXPECT_FALSE(target_->room());
  EXPECT_FALSE(target_->give_up(8));
  EXPECT_TRUE(target_->give_up(7));
  EXPECT_TRUE(target_->room());
  EXPECT_EQ(ask().outcome, Outcome::kOk);
}

TEST_F(HttpTargetTest, ConnectionsAreDealtOutEvenly) {
  Server first(dir_ / "a", {});
  Server second(dir_ / "b", {});
  question_.sockets = {dir_ / "a", dir_ / "b"};
  question_.texts = {"one"};
  // Two processes of one connection each.
  for (std::uint32_t i = 0; i < 2; ++i) {
    const auto made = connect_http(question_, 1, i);
    ASSERT_TRUE(made) << made.error().message;
  }
  EXPECT_EQ(first.requests(), 1U);
  EXPECT_EQ(second.requests(), 1U);
}

TEST_F(HttpTargetTest, AServerThatIsNotThereIsNamed) {
  question_.sockets = {dir_ / "nobody"};
  question_.texts = {"one"};
  const auto made = connect_http(question_, 1, 0);
  ASSERT_FALSE(made);
  EXPECT_NE(made.error().message.find("nobody"), std::string::npos);
}

}  // namespace
}  // namespace nacelle::bench::serve
