// Meeting: who gets in, who does not, and what each is told.
#include "shm/handshake.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <thread>

#include "sidecar/base/check.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wire.h"

namespace nacelle::shm {
namespace {

using nacelle::testing::meet;
using nacelle::testing::TempDir;
using ::testing::HasSubstr;

base::Nanos soon() { return base::now_ns() + 10 * base::kSecond; }

// A pair of connected sockets: [0] is the sidecar's.
struct Pair {
  Pair() { CHECK(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends) == 0); }
  ~Pair() {
    ::close(ends[0]);
    ::close(ends[1]);
  }
  int ends[2];
};

TEST(Handshake, NoSidecarIsAnErrorThatSaysWhatToDo) {
  const base::Result<Greeting> greeting = greet("/no/such/folder/nacelle.sock", {}, soon());
  ASSERT_FALSE(greeting);
  EXPECT_EQ(greeting.error().code, base::Code::kUnavailable);
  EXPECT_THAT(greeting.error().message, HasSubstr("Is nacelled running"));
}

TEST(Handshake, APathThatIsTooLongIsRefused) {
  const std::string path = "/tmp/" + std::string(200, 'x');
  EXPECT_EQ(greet(path, {}, soon()).error().code, base::Code::kInvalid);
  EXPECT_EQ(Listener::listen(path).error().code, base::Code::kInvalid);
}

TEST(Handshake, AListenerReplacesAnOldSocketAndRemovesItsOwn) {
  const TempDir dir;
  const std::string path = dir / "s";
  {
    const base::Result<Listener> first = Listener::listen(path);
    ASSERT_TRUE(first);
    {
      const base::Result<Listener> second = Listener::listen(path);
      ASSERT_TRUE(second) << "a crashed sidecar's socket is in nobody's way";
    }
    struct stat status {};
    EXPECT_NE(::stat(path.c_str(), &status), 0) << "the second removed its own";
  }
}

TEST(Handshake, AHelloOfAnotherMajorVersionIsRefusedWithBothVersions) {
  const TempDir dir;
  const std::string path = dir / "s";
  const base::Result<Listener> listener = Listener::listen(path);
  ASSERT_TRUE(listener);
  base::Result<Greeting> greeting = base::Error{};
  std::thread client([&] {
    Hello hello;
    hello.version_major = 7;
    hello.version_minor = 3;
    greeting = greet(path, hello, soon());
  });
  auto [socket, hello] = meet(*listener);
  ASSERT_FALSE(hello);
  EXPECT_EQ(hello.error().code, base::Code::kVersionMismatch);
  send_refusal(socket.get(), hello.error());
  client.join();
  ASSERT_FALSE(greeting);
  EXPECT_EQ(greeting.error().code, base::Code::kVersionMismatch);
  EXPECT_THAT(greeting.error().message, HasSubstr("protocol 7.3"));
  EXPECT_THAT(greeting.error().message, HasSubstr("speaks 1.3"));
}

TEST(Handshake, ANewerMinorVersionWithALongerHelloIsWelcome) {
  Pair pair;
  std::byte longer[sizeof(Hello) + 32] = {};
  Hello hello;
  hello.version_minor = 9;
  std::memcpy(longer, &hello, sizeof hello);
  ASSERT_GT(::send(pair.ends[1], longer, sizeof longer, 0), 0);
  const auto read = read_hello(pair.ends[0]);
  ASSERT_TRUE(read && *read);
  EXPECT_EQ((*read)->version_minor, 9);
}

TEST(Handshake, NonsenseIsNotAHello) {
  for (const std::size_t size : {1UL, sizeof(Hello) - 1, sizeof(Hello), 512UL, 513UL, 60'000UL}) {
    Pair pair;
    const std::string bytes(size, 'G');
    ASSERT_GT(::send(pair.ends[1], bytes.data(), bytes.size(), 0), 0);
    const auto hello = read_hello(pair.ends[0]);
    ASSERT_FALSE(hello) << size;
    EXPECT_EQ(hello.error().code, base::Code::kInvalid);
    EXPECT_THAT(hello.error().message, HasSubstr("Is this a Nacelle client?"));
  }
}

TEST(Handshake, SilenceIsNoHelloYetAndAHangUpIsNone) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
  const auto nothing = read_hello(ends[0]);
  ASSERT_TRUE(nothing);
  EXPECT_FALSE(*nothing);
  ::close(ends[1]);
  EXPECT_EQ(read_hello(ends[0]).error().code, base::Code::kSidecarGone);
  ::close(ends[0]);
}

TEST(Handshake, AServerThatIsNoSidecarIsRecognized) {
  struct Row {
    const char* what;
    std::size_t size;
  };
  for (const Row& row : {Row{"short", 5}, Row{"long enough", sizeof(Welcome)}}) {
    const TempDir dir;
    const std::string path = dir / "s";
    const base::Result<Listener> listener = Listener::listen(path);
    ASSERT_TRUE(listener);
    base::Result<Greeting> greeting = base::Error{};
    std::thread client([&] { greeting = greet(path, {}, soon()); });
    auto [socket, hello] = meet(*listener);
    const std::string bytes(row.size, 'x');
    ASSERT_GT(::send(socket.get(), bytes.data(), bytes.size(), 0), 0);
    client.join();
    ASSERT_FALSE(greeting) << row.what;
    EXPECT_THAT(greeting.error().message, HasSubstr("no Nacelle handshake"));
  }
}

TEST(Handshake, AWelcomeWithoutItsDescriptorsIsAnError) {
  const TempDir dir;
  const std::string path = dir / "s";
  const base::Result<Listener> listener = Listener::listen(path);
  ASSERT_TRUE(listener);
  base::Result<Greeting> greeting = base::Error{};
  std::thread client([&] { greeting = greet(path, {}, soon()); });
  auto [socket, hello] = meet(*listener);
  ASSERT_TRUE(send_welcome(socket.get(), Welcome{}, {}));
  client.join();
  ASSERT_FALSE(greeting);
  EXPECT_THAT(greeting.error().message, HasSubstr("0 descriptors instead of 3"));
}

// The usual case for a user who is not allowed: the hello lies unread when the sidecar hangs up.
TEST(Handshake, ARefusalBeforeTheHelloIsReadIsHeard) {
  const TempDir dir;
  const std::string path = dir / "s";
  const base::Result<Listener> listener = Listener::listen(path);
  ASSERT_TRUE(listener);
  base::Result<Greeting> greeting = base::Error{};
  std::thread client([&] { greeting = greet(path, {}, soon()); });
  base::Fd socket;
  while (!(socket = listener->accept())) std::this_thread::yield();
  pollfd hello{socket.get(), POLLIN, 0};
  ASSERT_EQ(::poll(&hello, 1, 10'000), 1);
  send_refusal(socket.get(), {base::Code::kDenied, "not you"});
  socket.reset();
  client.join();
  ASSERT_FALSE(greeting);
  EXPECT_EQ(greeting.error().code, base::Code::kDenied) << greeting.error().message;
  EXPECT_THAT(greeting.error().message, HasSubstr("not you"));
}

TEST(Handshake, ASidecarThatNeverAnswersTimesOut) {
  const TempDir dir;
  const std::string path = dir / "s";
  const base::Result<Listener> listener = Listener::listen(path);
  ASSERT_TRUE(listener);
  const base::Result<Greeting> greeting = greet(path, {}, base::now_ns() + base::kMillisecond);
  ASSERT_FALSE(greeting);
  EXPECT_EQ(greeting.error().code, base::Code::kDeadlineExceeded);
}

TEST(Handshake, ThePeersUserIsTheKernelsWord) {
  Pair pair;
  const base::Result<Peer> peer = peer_of(pair.ends[0]);
  ASSERT_TRUE(peer);
  EXPECT_EQ(peer->uid, ::geteuid());
  EXPECT_EQ(peer->pid, ::getpid());
}

}  // namespace
}  // namespace nacelle::shm
