// The same calls over a plain socket: the same answers, and lies on it harm nobody else.
#include "sidecar/relay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "shm/pending.h"
#include "shm/stream.h"
#include "tests/sidecar/pipeline_fixture.h"

namespace nacelle::sidecar {
namespace {

using base::Code;
using ::testing::HasSubstr;

class RelayTest : public PipelineTest {
 protected:
  std::unique_ptr<Client> connect_by_socket() {
    auto client =
        Client::connect({.socket = config_.socket, .name = "carried", .transport = "socket"});
    CHECK(client.has_value());
    return *std::move(client);
  }
  // A client without manners: its socket, after the handshake.
  base::Fd raw_socket() {
    shm::Hello hello;
    hello.features = shm::kFeatureCarry;
    auto greeting = shm::greet(config_.socket, hello, base::now_ns() + 10 * base::kSecond);
    CHECK(greeting.has_value());
    CHECK(greeting->welcome.features == shm::kFeatureCarry);
    CHECK(!greeting->fds[0]);
    return std::move(greeting->socket);
  }
  static bool hangs_up(int socket) {
    pollfd entry{socket, POLLRDHUP, 0};
    return ::poll(&entry, 1, 20'000) == 1;
  }
};

TEST_F(RelayTest, EveryCallAnswersTheSameBytesAsThroughMemory) {
  start();
  const auto shared = connect();
  const auto carried = connect_by_socket();
  const std::vector<std::string_view> texts = {kGood, kBad, "\xff", ""};
  const auto a = shared->embed("sentiment", texts);
  const auto b = carried->embed("sentiment", texts);
  ASSERT_TRUE(a && b) << b.error().message;
  EXPECT_EQ(a->values, b->values);
  EXPECT_EQ(b->items[2].code, static_cast<std::uint16_t>(Code::kInvalid));
  const auto labels = carried->classify("sentiment", std::span(texts).first(2));
  ASSERT_TRUE(labels);
  EXPECT_EQ((*labels)[0].scores,
            (*shared->classify("sentiment", std::span(texts).first(1)))[0].scores);
  EXPECT_EQ(carried->embed("nothing", texts).error().message,
            shared->embed("nothing", texts).error().message);
}

TEST_F(RelayTest, PayloadsOfEverySizeComeBack) {
  start();
  const auto client = connect_by_socket();
  for (const std::size_t size :
       {0UL, 1UL, 64UL, 65UL, 192UL, 193UL, 65'536UL, 65'537UL, 1UL << 20}) {
    std::vector<std::byte> data(size);
    for (std::size_t i = 0; i < size; ++i) data[i] = static_cast<std::byte>(i * 7 + size);
    const std::vector<std::byte> sent = data;
    const base::Status status = client->ping(data);
    ASSERT_TRUE(status) << size << ": " << status.error().message;
    EXPECT_EQ(data, sent) << size;
  }
}

TEST_F(RelayTest, ManyThreadsGetTheirOwnAnswers) {
  start();
  const auto client = connect_by_socket();
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        const std::string text =
            std::to_string(t) + " " + std::to_string(i) + std::string(100, 'x');
        std::string data = text;
        const base::Status status = client->ping(std::as_writable_bytes(std::span(data)));
        if (!status || data != text) wrong.fetch_add(1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong.load(), 0);
  EXPECT_EQ(client->rescued_by_timeout(), 0U);
}

TEST_F(RelayTest, ALongListAndStreamsPassBelowASmallArena) {
  config_.transport.reply_arena_bytes = 64U << 10;
  start();
  const auto shared = connect();
  const auto client = connect_by_socket();
  const std::vector<std::string_view> texts(600, kGood);
  EXPECT_EQ(client->embed("sentiment", texts)->values, shared->embed("sentiment", texts)->values);
  for (const std::uint32_t size : {1U, 13U, 8184U}) {
    auto stream = client->ping_stream(300, size);
    ASSERT_TRUE(stream);
    for (std::uint32_t i = 0; i < 300; ++i) {
      const auto piece = (*stream)->next();
      ASSERT_TRUE(piece) << piece.error().message;
      ASSERT_TRUE(*piece) << i;
      ASSERT_EQ((*piece)->size(), size);
      ASSERT_EQ((**piece)[size - 1], static_cast<std::byte>(i + size - 1));
    }
    const auto end = (*stream)->next();
    ASSERT_TRUE(end) << end.error().message;
    EXPECT_FALSE(*end);
  }
}

TEST_F(RelayTest, AnEventLoopIsServed) {
  start();
  const auto client = connect_by_socket();
  const auto info = client->describe("sentiment");
  ASSERT_TRUE(info);
  std::vector<float> rows((*info)->embed_width);
  for (int round = 0; round < 20; ++round) {
    auto call = client->start(shm::Op::kEmbed, "sentiment", {kGood}, rows, {});
    ASSERT_TRUE(call);
    for (;;) {
      const auto state = (*call)->advance();
      ASSERT_TRUE(state) << state.error().message;
      if (*state) break;
      pollfd entry{(*call)->fd(), POLLIN, 0};
      ASSERT_EQ(::poll(&entry, 1, 20'000), 1);
    }
  }
  const std::string_view text = kGood;
  EXPECT_EQ(rows, client->embed("sentiment", {&text, 1})->values);
}

TEST_F(RelayTest, AStreamThatIsGivenUpFreesItsSlot) {
  config_.transport.slots = 1;
  start();
  const auto client = connect_by_socket();
  for (int round = 0; round < 20;) {
    auto stream = client->ping_stream(1'000'000, 100);
    if (stream) {
      ASSERT_TRUE((*stream)->next());
      ++round;
    } else {
      ASSERT_EQ(stream.error().code, Code::kBusy) << stream.error().message;
      std::this_thread::yield();
    }
  }
}

TEST_F(RelayTest, TheClientFindsTheNextSidecar) {
  start();
  const auto client = connect_by_socket();
  ASSERT_TRUE(client->ping({}));
  pipeline_.reset();
  start();
  std::byte byte{7};
  EXPECT_TRUE(client->ping({&byte, 1}));
}

TEST_F(RelayTest, AClientMadeBeforeAForkWorksInTheChild) {
  start();
  const auto client = connect_by_socket();
  ASSERT_TRUE(client->ping({}));
  const pid_t child = ::fork();
  if (child == 0) {
    std::byte byte{9};
    ::_exit(client->ping({&byte, 1}) && byte == std::byte{9} ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(client->ping({}));
}

TEST_F(RelayTest, AMessageThatCannotBeEndsThatConnectionOnly) {
  start();
  const auto client = connect_by_socket();
  struct Row {
    const char* what;
    std::string message;
  };
  const auto message = [](std::uint32_t kind, std::uint32_t offset, std::uint64_t value,
                          std::size_t bytes) {
    const shm::CarryHeader header{kind, offset, value};
    std::string text(reinterpret_cast<const char*>(&header), sizeof header);
    return text + std::string(bytes, 'x');
  };
  const Row rows[] = {
      {"no kind", message(0, 0, 0, 0)},
      {"an unknown kind", message(4, 0, 0, 0)},
      {"half a header", std::string(8, '\0')},
      {"bytes outside", message(1, UINT32_MAX, 0, 8)},
      {"bytes across the end", message(1, 2'117'632 - 4, 0, 8)},
      {"more bytes than a message has", message(1, 0, 0, shm::kCarryBytesMax + 1)},
      {"a word outside", message(3, 2'117'632, 1, 0)},
      {"a crooked word", message(3, 4, 1, 0)},
      {"a word with bytes", message(2, 4, 1, 1)},
      {"too many slots", message(2, 0, 65, 0)},
      {"a generation too far", message(2, 0, 1, 0) + "|" + message(3, 128, 2, 0)},
  };
  for (const Row& row : rows) {
    const base::Fd socket = raw_socket();
    std::string rest = row.message;
    // Two messages are told apart by a bar behind the first header.
    if (rest.size() > sizeof(shm::CarryHeader) && rest[sizeof(shm::CarryHeader)] == '|') {
      ASSERT_GT(::send(socket.get(), rest.data(), sizeof(shm::CarryHeader), 0), 0);
      rest = rest.substr(sizeof(shm::CarryHeader) + 1);
    }
    ASSERT_GT(::send(socket.get(), rest.data(), rest.size(), 0), 0) << row.what;
    EXPECT_TRUE(hangs_up(socket.get())) << row.what;
    std::byte byte{3};
    EXPECT_TRUE(client->ping({&byte, 1})) << row.what;
  }
}

TEST_F(RelayTest, AReaderThatNeverReadsHoldsNobodyUp) {
  start();
  const auto client = connect_by_socket();
  const base::Fd socket = raw_socket();
  // 60 pings of 30 KiB, all of the same bytes of the arena: more than the socket holds.
  const shm::Geometry geometry;
  for (std::uint32_t slot = 0; slot < 60; ++slot) {
    shm::RequestSlot fields{};
    fields.payload_size = 30'000;
    const std::uint32_t at = 128 + slot * std::uint32_t{sizeof fields};
    const std::span bytes(reinterpret_cast<const std::byte*>(&fields), sizeof fields);
    for (const shm::Carried sent :
         {shm::send_bytes(socket.get(), at + 8, bytes.subspan(8)),
          shm::send_store(socket.get(), shm::Carry::kStore32, 0, slot + 1),
          shm::send_store(socket.get(), shm::Carry::kStore64, at, 1)}) {
      ASSERT_NE(sent, shm::Carried::kGone);
    }
  }
  std::vector<std::byte> data(100'000);
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(client->ping(data));
  EXPECT_EQ(pipeline_->report().clients.size(), 2U);
}

TEST_F(RelayTest, AnUnknownTransportIsRefusedInWords) {
  start();
  const auto client = Client::connect({.socket = config_.socket, .transport = "pigeon"});
  ASSERT_FALSE(client);
  EXPECT_THAT(client.error().message, HasSubstr("\"shm\" and \"socket\""));
}

}  // namespace
}  // namespace nacelle::sidecar
