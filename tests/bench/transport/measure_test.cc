// The timed loop of `./run bench transport`: what it counts, and that a wrong reply ends it.
#include "bench/transport/measure.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace nacelle::bench {
namespace {

// Answers in this process; `spoil` is the byte of every reply that is wrong, -1 for none.
class FakeCaller : public Caller {
 public:
  base::Status call(std::span<const std::byte> request, std::span<std::byte> reply) override {
    make_reply(request.data(), reply.data(), wanted_size(request.data()));
    if (spoil >= 0) reply[static_cast<std::size_t>(spoil)] ^= std::byte{1};
    calls += 1;
    if (calls == stall_at) {
      const base::Nanos stop = base::now_ns() + stall;
      while (base::now_ns() < stop) {
      }
    }
    return base::ok();
  }
  int spoil = -1;
  int calls = 0;
  int stall_at = -1;
  base::Nanos stall = 0;
};

TEST(TransportMeasure, EveryByteIsVerified) {
  FakeCaller caller;
  EXPECT_TRUE(verify(caller, 1024, 20));
  EXPECT_EQ(caller.calls, 20);
  for (const int spoilt : {0, 500, 1023}) {
    caller.spoil = spoilt;
    EXPECT_FALSE(verify(caller, 1024, 1)) << "byte " << spoilt;
  }
}

TEST(TransportMeasure, ARunEndsAtAReplyWhoseEndsAreWrong) {
  for (const int spoilt : {0, 1023}) {
    FakeCaller caller;
    caller.spoil = spoilt;
    EXPECT_FALSE(measure(caller, {.reply_size = 1024, .duration = base::kMillisecond}));
    EXPECT_EQ(caller.calls, 1);
  }
}

TEST(TransportMeasure, SizesThatCannotBeAreRefused) {
  FakeCaller caller;
  for (const std::uint32_t size : {0U, 63U, 65'537U}) {
    EXPECT_FALSE(verify(caller, size, 1)) << size;
    EXPECT_FALSE(measure(caller, {.reply_size = size, .duration = 1})) << size;
  }
}

TEST(TransportMeasure, APercentileIsACallThatHappened) {
  Latencies latencies;
  EXPECT_EQ(latencies.at(0.5), 0U);
  for (std::uint32_t i = 1; i <= 1000; ++i) latencies.sorted.push_back(i);
  EXPECT_EQ(latencies.at(0.5), 500U);
  EXPECT_EQ(latencies.at(0.99), 990U);
  EXPECT_EQ(latencies.at(0.999), 999U);
  EXPECT_EQ(latencies.at(1), 1000U);
  EXPECT_EQ(latencies.at(0), 1U);
}

// A closed loop would see one slow call.
TEST(TransportMeasure, AnOpenLoopCountsTheCallsThatAStallDelayed) {
  constexpr base::Nanos kStall = 20 * base::kMillisecond;
  FakeCaller caller;
  caller.stall_at = 3;
  caller.stall = kStall;
  const auto latencies =
      measure(caller, {.reply_size = 64, .duration = 2 * kStall, .interval = base::kMillisecond});
  ASSERT_TRUE(latencies);
  const auto slow = std::count_if(latencies->sorted.begin(), latencies->sorted.end(),
                                  [](std::uint32_t latency) { return latency >= kStall / 4; });
  EXPECT_GE(slow, 14);  // of the 20 that were due during the stall, those that waited for 5 ms
}

}  // namespace
}  // namespace nacelle::bench
