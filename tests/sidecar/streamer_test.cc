// Streams through a whole sidecar: every piece once and in order, whatever the readers do.
#include "sidecar/streamer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

#include "shm/stream.h"
#include "tests/sidecar/pipeline_fixture.h"

namespace nacelle::sidecar {
namespace {

using base::Code;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using ::testing::HasSubstr;

class StreamerTest : public PipelineTest {
 protected:
  // The next piece, which must be there and be the stream's piece number `index`.
  static void expect_piece(Stream& stream, std::uint32_t index, std::size_t size) {
    const auto piece = stream.next();
    ASSERT_TRUE(piece) << piece.error().message;
    ASSERT_TRUE(*piece) << "the stream ended before piece " << index;
    ASSERT_EQ((*piece)->size(), size);
    for (std::size_t i = 0; i < size; ++i) {
      ASSERT_EQ((**piece)[i], static_cast<std::byte>(index + i)) << "piece " << index;
    }
  }
  static void expect_end(Stream& stream) {
    const auto piece = stream.next();
    ASSERT_TRUE(piece) << piece.error().message;
    EXPECT_FALSE(*piece);
  }
};

TEST_F(StreamerTest, EveryPieceComesOnceAndInOrder) {
  start();
  const auto client = connect();
  // Sizes that fit a ring of 16 KiB evenly, that do not, and the largest that there is.
  for (const std::uint32_t size : {0U, 1U, 8U, 13U, 1000U, 8184U}) {
    const std::uint32_t count = size > 100 ? 100 : 5000;
    auto stream = client->ping_stream(count, size);
    ASSERT_TRUE(stream) << stream.error().message;
    for (std::uint32_t i = 0; i < count; ++i) {
      ASSERT_NO_FATAL_FAILURE(expect_piece(**stream, i, size));
    }
    expect_end(**stream);
    expect_end(**stream);  // and it stays at its end
  }
  EXPECT_EQ(client->rescued_by_timeout(), 0U);
}

TEST_F(StreamerTest, PiecesThatAreThereCanBeTakenAtOnce) {
  start();
  const auto client = connect();
  for (const std::uint32_t size : {1U, 64U, 1001U, 8184U}) {
    auto stream = client->ping_stream(3000, size);
    ASSERT_TRUE(stream);
    std::vector<std::span<const std::byte>> pieces(100);
    std::uint32_t index = 0;
    while (index < 3000) {
      const auto count = (*stream)->next(pieces);
      ASSERT_TRUE(count) << count.error().message;
      ASSERT_GT(*count, 0U);
      for (std::size_t i = 0; i < *count; ++i, ++index) {
        ASSERT_EQ(pieces[i].size(), size);
        for (std::size_t j = 0; j < size; ++j) {
          ASSERT_EQ(pieces[i][j], static_cast<std::byte>(index + j)) << index;
        }
      }
    }
    EXPECT_EQ(*(*stream)->next(pieces), 0U);
    EXPECT_EQ((*stream)->pieces(), 3000U);
  }
}

TEST_F(StreamerTest, PacedPiecesWakeASleepingReader) {
  start();
  const auto client = connect();
  auto stream = client->ping_stream(50, 16, microseconds(300));
  ASSERT_TRUE(stream);
  for (std::uint32_t i = 0; i < 50; ++i) ASSERT_NO_FATAL_FAILURE(expect_piece(**stream, i, 16));
  expect_end(**stream);
  EXPECT_EQ(client->rescued_by_timeout(), 0U);
}

TEST_F(StreamerTest, AReaderThatStopsMakesNobodyElseWait) {
  start();
  const auto slow_client = connect();
  const auto client = connect();
  auto slow = slow_client->ping_stream(1'000'000, 100);
  auto beside = client->ping_stream(1'000'000, 100);  // of the same client as the fast one
  ASSERT_TRUE(slow && beside);
  ASSERT_NO_FATAL_FAILURE(expect_piece(**slow, 0, 100));
  for (int round = 0; round < 3; ++round) {
    auto fast = client->ping_stream(20'000, 100);
    ASSERT_TRUE(fast);
    for (std::uint32_t i = 0; i < 20'000; ++i) {
      ASSERT_NO_FATAL_FAILURE(expect_piece(**fast, i, 100));
    }
    expect_end(**fast);
  }
  // And the slow ones have missed nothing.
  for (std::uint32_t i = 1; i < 1000; ++i) ASSERT_NO_FATAL_FAILURE(expect_piece(**slow, i, 100));
  for (std::uint32_t i = 0; i < 1000; ++i) ASSERT_NO_FATAL_FAILURE(expect_piece(**beside, i, 100));
}

TEST_F(StreamerTest, AStreamThatIsGivenUpFreesItsSlotAndItsRing) {
  config_.transport.slots = 2;
  config_.transport.reply_arena_bytes = 64U << 10;  // four rings
  start();
  const auto client = connect();
  for (int round = 0; round < 50; ++round) {
    // A slot comes back when the sidecar has noticed: until then the answer is "busy".
    for (;;) {
      auto stream = client->ping_stream(1'000'000, 100);
      if (!stream) {
        ASSERT_EQ(stream.error().code, Code::kBusy) << stream.error().message;
        std::this_thread::yield();
        continue;
      }
      const auto first = (*stream)->next();
      if (!first) {
        ASSERT_EQ(first.error().code, Code::kBusy) << first.error().message;
        continue;
      }
      break;
    }
  }
}

TEST_F(StreamerTest, ADeadlineEndsAStream) {
  start();
  const auto client = connect();
  // The second piece would come in an hour.
  auto stream = client->ping_stream(2, 8, std::chrono::hours(1), {.timeout = milliseconds(30)});
  ASSERT_TRUE(stream);
  ASSERT_NO_FATAL_FAILURE(expect_piece(**stream, 0, 8));
  const auto piece = (*stream)->next();
  ASSERT_FALSE(piece);
  EXPECT_EQ(piece.error().code, Code::kDeadlineExceeded) << piece.error().message;
}

TEST_F(StreamerTest, WhatCannotBeIsRefusedInWords) {
  start();
  const auto client = connect();
  const auto refusal = [&](std::uint32_t pieces, std::uint32_t bytes) {
    auto stream = client->ping_stream(pieces, bytes);
    CHECK(stream.has_value());
    const auto piece = (*stream)->next();
    CHECK(!piece);
    return piece.error();
  };
  EXPECT_THAT(refusal(0, 8).message, HasSubstr("at least one piece"));
  EXPECT_THAT(refusal(1, 8185).message, HasSubstr("half of transport.stream_ring_bytes"));
  EXPECT_EQ(refusal(1, UINT32_MAX).code, Code::kTooLarge);

  const auto link = raw();
  EXPECT_EQ(ask(*link, {.op = shm::Op::kPingStream}, "short").code, Code::kInvalid);
}

TEST_F(StreamerTest, DrainingEndsStreamsAndSaysSo) {
  start();
  const auto client = connect();
  auto stream = client->ping_stream(UINT32_MAX, 8);
  ASSERT_TRUE(stream);
  ASSERT_NO_FATAL_FAILURE(expect_piece(**stream, 0, 8));
  EXPECT_EQ(pipeline_->drain(base::kMillisecond), 1U);
  for (std::uint32_t i = 1;; ++i) {
    const auto piece = (*stream)->next();
    if (!piece) {
      EXPECT_EQ(piece.error().code, Code::kSidecarGone) << piece.error().message;
      break;
    }
    ASSERT_TRUE(*piece);
    ASSERT_EQ((**piece)[0], static_cast<std::byte>(i));
  }
}

TEST_F(StreamerTest, AReaderThatLiesAboutWhatItReadWaitsAlone) {
  start();
  const auto client = connect();
  auto greeting = shm::greet(config_.socket, shm::Hello{}, base::now_ns() + 10 * base::kSecond);
  ASSERT_TRUE(greeting);
  auto region = shm::Mapping::map(greeting->fds[0].get(), greeting->welcome.request_region_size,
                                  shm::Access::kReadWrite);
  ASSERT_TRUE(region);
  auto* header = reinterpret_cast<shm::RequestHeader*>(region->data());
  auto* slot = reinterpret_cast<shm::RequestSlot*>(header + 1);
  const shm::PingStream wanted{1'000'000, 64, 0, 0};
  slot->op = static_cast<std::uint16_t>(shm::Op::kPingStream);
  slot->payload_size = sizeof wanted;
  std::memcpy(slot->payload, &wanted, sizeof wanted);
  header->slots_used.store(1);
  slot->generation.store(1);
  const std::uint64_t bell = 1;
  ASSERT_EQ(::write(greeting->fds[2].get(), &bell, sizeof bell), 8);
  for (const std::uint32_t lie : {UINT32_MAX, 1U << 31, 17'000U, 1U}) {
    slot->consumed.store(lie);
    auto stream = client->ping_stream(2000, 64);
    ASSERT_TRUE(stream);
    for (std::uint32_t i = 0; i < 2000; ++i) {
      ASSERT_NO_FATAL_FAILURE(expect_piece(**stream, i, 64));
    }
    expect_end(**stream);
  }
}

}  // namespace
}  // namespace nacelle::sidecar
