// What the sidecar does when the other side lies: the raw bytes of a request region, scribbled by
// hand. Every lie ends the connection or harms nobody; none is believed.
#include "shm/connection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "sidecar/base/check.h"
#include "tests/support/raw_client.h"
#include "tests/support/wire.h"

namespace nacelle::shm {
namespace {

using nacelle::testing::meet;
using nacelle::testing::RawClient;
using nacelle::testing::TempDir;
using ::testing::HasSubstr;

constexpr Geometry kGeometry{.slots = 4, .request_arena_size = 65'536, .reply_arena_size = 65'536};

// A client without manners, and the sidecar's end of its connection.
struct Liar {
  Liar() {
    const std::string path = dir / "nacelle.sock";
    base::Result<Listener> listener = Listener::listen(path);
    CHECK(listener.has_value());
    std::thread other([&] { client = std::make_unique<RawClient>(path); });
    auto [socket, hello] = meet(*listener);
    connection = *Connection::open(std::move(socket), Peer{}, **hello, kGeometry, Limits{}, 1, 1);
    other.join();
  }
  [[nodiscard]] RequestHeader& header() const { return client->header(); }
  [[nodiscard]] RequestSlot& slot(std::uint32_t i) const { return client->slot(i); }
  // A request that is right in every field.
  void publish(std::uint32_t i) const {
    slot(i).op = static_cast<std::uint16_t>(Op::kPing);
    slot(i).payload_size = 4;
    client->publish(i);
  }
  base::Result<bool> take(Submission* out) const {
    std::uint32_t cursor = 0;
    return connection->take(&cursor, out);
  }

  TempDir dir;
  std::unique_ptr<RawClient> client;
  std::shared_ptr<Connection> connection;
};

TEST(Connection, ARightRequestIsTakenOnce) {
  const Liar client;
  client.publish(2);
  Submission submission;
  ASSERT_TRUE(*client.take(&submission));
  EXPECT_EQ(submission.slot, 2U);
  EXPECT_EQ(submission.generation, 1U);
  EXPECT_FALSE(*client.take(&submission)) << "once";
}

TEST(Connection, EveryLieInTheSlotsIsAViolation) {
  struct Row {
    const char* what;
    Violation reason;
    std::function<void(const Liar&)> lie;
  };
  const auto set = [](const std::function<void(RequestSlot&)>& change) {
    return [change](const Liar& client) {
      change(client.slot(0));
      client.header().slots_used.store(4);
      client.slot(0).generation.fetch_add(1);
    };
  };
  const Row rows[] = {
      {"more slots than there are", Violation::kSlotsUsed,
       [](const Liar& c) { c.header().slots_used.store(5); }},
      {"all slots there could be", Violation::kSlotsUsed,
       [](const Liar& c) { c.header().slots_used.store(UINT32_MAX); }},
      {"a generation too far", Violation::kGeneration,
       [](const Liar& c) {
         c.header().slots_used.store(1);
         c.slot(0).generation.store(2);
       }},
      {"a generation near the end", Violation::kGeneration,
       [](const Liar& c) {
         c.header().slots_used.store(1);
         c.slot(0).generation.store(UINT64_MAX);
       }},
      {"an unknown op", Violation::kOp, set([](RequestSlot& s) { s.op = kOpsEnd; })},
      {"the largest op", Violation::kOp, set([](RequestSlot& s) { s.op = UINT16_MAX; })},
      {"a payload one byte past the arena", Violation::kPayload, set([](RequestSlot& s) {
         s.payload_size = 100;
         s.payload_offset = 65'536 - 99;
       })},
      {"a payload that wraps", Violation::kPayload, set([](RequestSlot& s) {
         s.payload_size = UINT32_MAX;
         s.payload_offset = 2;
       })},
      {"an offset far outside", Violation::kPayload, set([](RequestSlot& s) {
         s.payload_size = 65;
         s.payload_offset = UINT32_MAX;
       })},
  };
  for (const Row& row : rows) {
    const Liar client;
    row.lie(client);
    Submission submission;
    const base::Result<bool> taken = client.take(&submission);
    ASSERT_FALSE(taken) << row.what;
    EXPECT_THAT(taken.error().message, HasSubstr("broke the protocol")) << row.what;
    EXPECT_EQ(client.connection->violation(), row.reason) << row.what;
  }
}

TEST(Connection, PublishingAgainBeforeTheReplyIsAViolation) {
  const Liar client;
  client.publish(0);
  Submission submission;
  ASSERT_TRUE(*client.take(&submission));
  client.publish(0);
  EXPECT_FALSE(client.take(&submission)) << "the slot is busy";
  EXPECT_EQ(client.connection->violation(), Violation::kBusySlot);
}

TEST(Connection, AReplayedGenerationIsAViolation) {
  const Liar client;
  client.publish(0);
  Submission submission;
  ASSERT_TRUE(*client.take(&submission));
  EXPECT_FALSE(client.connection->complete(0, 1, {}, 0));
  client.slot(0).generation.store(0);
  EXPECT_FALSE(client.take(&submission)) << "backwards";
}

// The copy is what counts: a payload that moves after it was taken changes nothing.
TEST(Connection, FieldsChangedAfterTheCopyComeTooLate) {
  const Liar client;
  std::memcpy(client.slot(0).payload, "good", 4);
  client.publish(0);
  Submission submission;
  ASSERT_TRUE(*client.take(&submission));
  client.slot(0).payload_size = UINT32_MAX;
  client.slot(0).op = 99;
  std::memcpy(client.slot(0).payload, "evil", 4);
  std::byte payload[4];
  ASSERT_TRUE(client.connection->copy_payload(submission, payload));
  EXPECT_EQ(std::memcmp(payload, "good", 4), 0);
}

TEST(Connection, AForgedReleaseWordFreesNothing) {
  const Liar client;
  client.publish(0);
  Submission submission;
  ASSERT_TRUE(*client.take(&submission));
  ASSERT_FALSE(client.connection->reserve(submission, 60'000).empty());
  client.slot(0).released.store(1);  // of a request that is still in flight
  client.publish(1);
  Submission second;
  ASSERT_TRUE(*client.take(&second));
  EXPECT_TRUE(client.connection->reserve(second, 60'000).empty()) << "the memory is in use";
  EXPECT_FALSE(client.connection->complete(0, 1, {}, 60'000));
  client.slot(0).released.store(12345);
  EXPECT_TRUE(client.connection->reserve(second, 60'000).empty());
  client.slot(0).released.store(1);
  EXPECT_FALSE(client.connection->reserve(second, 60'000).empty());
}

TEST(Connection, ReplyMemoryIsZeroedBeforeItIsLentAgain) {
  const Liar client;
  Submission submission;
  for (int round = 0; round < 2; ++round) {
    client.publish(0);
    ASSERT_TRUE(*client.take(&submission));
    const std::span<std::byte> reply = client.connection->reserve(submission, 4096);
    ASSERT_EQ(reply.size(), 4096U);
    for (const std::byte byte : reply) ASSERT_EQ(byte, std::byte{0});
    std::memset(reply.data(), 0xAA, reply.size());
    EXPECT_FALSE(client.connection->complete(0, submission.generation, {}, reply.size()));
  }
}

TEST(Connection, AClientsNameIsMadeFitForLogs) {
  Hello hello;
  std::memset(hello.name, 'n', sizeof hello.name);  // no terminator anywhere
  hello.name[1] = '\n';
  hello.name[2] = '\x1b';
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
  const base::Fd other(pair[1]);
  const auto connection =
      *Connection::open(base::Fd(pair[0]), Peer{}, hello, kGeometry, Limits{}, 1, 1);
  EXPECT_EQ(connection->name(), "n??" + std::string(61, 'n'));
}

}  // namespace
}  // namespace nacelle::shm
