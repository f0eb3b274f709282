// The client's end and the sidecar's end, talking to each other in one process.
#include "shm/link.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "shm/wait.h"
#include "sidecar/base/check.h"
#include "tests/support/wire.h"

namespace nacelle::shm {
namespace {

using nacelle::testing::Wire;
using ::testing::HasSubstr;

base::Result<Ticket> send(Link& link, const std::string& text,
                          base::Nanos timeout = 10 * base::kSecond) {
  return link.submit(
      {.op = Op::kPing}, static_cast<std::uint32_t>(text.size()), base::now_ns() + timeout,
      [&](std::span<std::byte> out) { std::memcpy(out.data(), text.data(), text.size()); });
}

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Echoes what has been published; how many there were.
int echo_all(Connection& connection) {
  int count = 0;
  Submission submission;
  for (std::uint32_t cursor = 0;; ++count) {
    const base::Result<bool> taken = connection.take(&cursor, &submission);
    CHECK(taken.has_value());
    if (!*taken) return count;
    std::vector<std::byte> payload(submission.payload_size);
    CHECK(connection.copy_payload(submission, payload));
    const std::span<std::byte> reply = connection.reserve(submission, payload.size());
    CHECK(reply.size() == payload.size());
    std::memcpy(reply.data(), payload.data(), payload.size());
    const Waiter waiter =
        connection.complete(submission.slot, submission.generation, {.items = 1}, reply.size());
    if (waiter) connection.wake(waiter);
  }
}

TEST(Link, ARequestComesBackFromEverySize) {
  Wire wire;
  for (const std::size_t size : {1UL, 64UL, 65UL, 192UL, 193UL, 1024UL, 60'000UL}) {
    const std::string text(size, static_cast<char>('a' + size % 26));
    const base::Result<Ticket> ticket = send(*wire.link, text);
    ASSERT_TRUE(ticket) << ticket.error().message;
    EXPECT_EQ(echo_all(*wire.connection), 1);
    const base::Result<Answer> answer = wire.link->wait(*ticket);
    ASSERT_TRUE(answer) << answer.error().message;
    EXPECT_EQ(text_of(answer->payload), text);
    wire.link->finish(*ticket);
  }
  EXPECT_EQ(wire.connection->in_flight(), 0U);
}

TEST(Link, AnErrorArrivesInWords) {
  Wire wire;
  const base::Result<Ticket> ticket = send(*wire.link, "x");
  ASSERT_TRUE(ticket);
  Submission submission;
  std::uint32_t cursor = 0;
  ASSERT_TRUE(*wire.connection->take(&cursor, &submission));
  // 100 characters of 3 bytes: longer than a slot, and cut between characters.
  std::string text;
  for (int i = 0; i < 100; ++i) text += "한";
  EXPECT_FALSE(wire.connection->complete_error(submission.slot, submission.generation,
                                               {base::Code::kBusy, text}, 77));
  const base::Result<Answer> answer = wire.link->wait(*ticket);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->fields.code, base::Code::kBusy);
  EXPECT_EQ(answer->fields.retry_after_us, 77U);
  EXPECT_EQ(text_of(answer->payload), text.substr(0, 192));
  wire.link->finish(*ticket);
}

TEST(Link, AFullSetOfSlotsIsBusyAndNamesTheOption) {
  Wire wire;
  std::vector<Ticket> tickets;
  for (int i = 0; i < 4; ++i) tickets.push_back(*send(*wire.link, "x"));
  const base::Result<Ticket> fifth = send(*wire.link, "x");
  ASSERT_FALSE(fifth);
  EXPECT_EQ(fifth.error().code, base::Code::kBusy);
  EXPECT_THAT(fifth.error().message, HasSubstr("transport.slots"));
  EXPECT_EQ(echo_all(*wire.connection), 4);
  for (const Ticket& ticket : tickets) {
    ASSERT_TRUE(wire.link->wait(ticket));
    wire.link->finish(ticket);
  }
  EXPECT_TRUE(send(*wire.link, "x")) << "and there is room again";
}

TEST(Link, AFullArenaIsBusyAndATooLargeRequestIsNot) {
  Wire wire;
  ASSERT_TRUE(send(*wire.link, std::string(60'000, 'x')));
  const base::Result<Ticket> second = send(*wire.link, std::string(10'000, 'x'));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, base::Code::kBusy);
  const base::Result<Ticket> huge = send(*wire.link, std::string(70'000, 'x'));
  ASSERT_FALSE(huge);
  EXPECT_EQ(huge.error().code, base::Code::kTooLarge);
  EXPECT_THAT(huge.error().message, HasSubstr("transport.request_arena_bytes"));
}

TEST(Link, RepliesThatWereReadMakeRoomForOthers) {
  Wire wire;  // 64 KiB for replies: two of 30,000 bytes fit, a third only after one was read
  std::vector<Ticket> tickets;
  for (int i = 0; i < 2; ++i) tickets.push_back(*send(*wire.link, std::string(30'000, 'x')));
  EXPECT_EQ(echo_all(*wire.connection), 2);
  for (const Ticket& ticket : tickets) {
    ASSERT_TRUE(wire.link->wait(ticket));
    wire.link->finish(ticket);
  }
  // Slot 0 alone is used from here on; what slot 1 holds must come back by its release word.
  for (int i = 0; i < 10; ++i) {
    const base::Result<Ticket> ticket = send(*wire.link, std::string(50'000, 'y'));
    ASSERT_TRUE(ticket);
    EXPECT_EQ(ticket->slot, 0U);
    EXPECT_EQ(echo_all(*wire.connection), 1);
    ASSERT_TRUE(wire.link->wait(*ticket));
    wire.link->finish(*ticket);
  }
}

TEST(Link, ACallThatTimesOutIsCancelledAndItsSlotComesBackAfterTheReply) {
  Wire wire;
  const base::Result<Ticket> ticket = send(*wire.link, "slow", base::kMillisecond);
  ASSERT_TRUE(ticket);
  const base::Result<Answer> answer = wire.link->wait(*ticket);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, base::Code::kDeadlineExceeded);
  EXPECT_TRUE(wire.connection->cancelled(ticket->slot, ticket->generation));
  EXPECT_EQ(send(*wire.link, "next")->slot, 1U) << "slot 0 is not answered yet";
  EXPECT_EQ(echo_all(*wire.connection), 2);
  EXPECT_EQ(send(*wire.link, "again")->slot, 0U);
}

TEST(Link, TheSidecarsDeathEndsAWaitAndTheLink) {
  Wire wire;
  const base::Result<Ticket> ticket = send(*wire.link, "x");
  ASSERT_TRUE(ticket);
  std::thread killer([&] { wire.connection.reset(); });
  const base::Result<Answer> answer = wire.link->wait(*ticket);
  killer.join();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, base::Code::kSidecarGone);
  EXPECT_TRUE(wire.link->dead());
  EXPECT_EQ(send(*wire.link, "x").error().code, base::Code::kSidecarGone);
}

TEST(Link, AReplyThatCameBeforeTheDeathIsStillRead) {
  Wire wire;
  const base::Result<Ticket> ticket = send(*wire.link, "last words");
  ASSERT_TRUE(ticket);
  EXPECT_EQ(echo_all(*wire.connection), 1);
  wire.connection.reset();
  const base::Result<Answer> answer = wire.link->wait(*ticket);
  ASSERT_TRUE(answer);
  EXPECT_EQ(text_of(answer->payload), "last words");
}

// Many threads of a client, one sidecar thread that sleeps as intake does: every reply is the right
// one, and no wake-up is lost on either side.
TEST(Link, ManyThreadsGetTheirOwnAnswers) {
  Wire wire({.slots = 8, .request_arena_size = 1 << 20, .reply_arena_size = 1 << 20});
  constexpr int kThreads = 4;
  constexpr int kCalls = 2'000;
  std::atomic<bool> stop{false};
  std::atomic<int> lost{0};  // doorbells that should have rung
  std::thread sidecar([&] {
    while (!stop.load()) {
      if (echo_all(*wire.connection) > 0) continue;
      wire.connection->set_asleep(true);
      if (echo_all(*wire.connection) == 0) {
        pollfd doorbell{wire.connection->doorbell(), POLLIN, 0};
        const bool rung = ::poll(&doorbell, 1, 1000) > 0;
        if (!rung && !stop.load()) lost.fetch_add(1);
        std::uint64_t count = 0;
        if (rung) {
          EXPECT_EQ(::read(wire.connection->doorbell(), &count, sizeof count), 8);
        }
      }
      wire.connection->set_asleep(false);
    }
  });
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(static_cast<unsigned>(t));
      for (int i = 0; i < kCalls; ++i) {
        const std::string text = std::to_string(t) + ":" + std::to_string(i) +
                                 std::string(random() % 2 == 0 ? 10 : random() % 20'000, 'z');
        const base::Result<Ticket> ticket = send(*wire.link, text);
        if (!ticket) {
          wrong.fetch_add(1);
          continue;
        }
        const base::Result<Answer> answer = wire.link->wait(*ticket);
        if (!answer || text_of(answer->payload) != text) wrong.fetch_add(1);
        if (answer) wire.link->finish(*ticket);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  stop.store(true);
  const std::uint64_t one = 1;
  ASSERT_EQ(::write(wire.connection->doorbell(), &one, sizeof one), 8);
  sidecar.join();
  EXPECT_EQ(wrong.load(), 0);
  EXPECT_EQ(lost.load(), 0);
  EXPECT_EQ(wire.link->rescued_by_timeout(), 0U);
}

}  // namespace
}  // namespace nacelle::shm
