// From records to numbers, on records written by hand.
#include "bench/serve/account.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <numeric>

namespace nacelle::bench::serve {
namespace {

using base::kMillisecond;
using base::kSecond;
using base::Nanos;

Record answered(Nanos due, Nanos latency, std::uint16_t phase = 0) {
  return {.due = due, .sent = due, .done = due + latency, .phase = phase, .outcome = Outcome::kOk};
}
Record ended(Nanos due, Outcome outcome, std::uint16_t phase = 0) {
  return {.due = due, .sent = due, .done = due, .phase = phase, .outcome = outcome};
}

TEST(Account, APercentileIsAValueThatWasMeasured) {
  std::vector<Nanos> values(1000);
  std::iota(values.rbegin(), values.rend(), 1);  // 1000 ... 1
  EXPECT_EQ(percentile(values, 0.5), 500);
  EXPECT_EQ(percentile(values, 0.99), 990);
  EXPECT_EQ(percentile(values, 0.999), 999);
  EXPECT_EQ(percentile(values, 1), 1000);
  std::vector<Nanos> one = {7};
  EXPECT_EQ(percentile(one, 0.001), 7);
  std::vector<Nanos> none;
  EXPECT_EQ(percentile(none, 0.5), 0);
}

TEST(Account, EveryRequestIsCountedOnceAndOnlyUnusedRoomIsNot) {
  Load load;
  load.phases = {{1, kSecond}};
  std::vector<Record> records(10);  // unused
  for (const Outcome outcome : {Outcome::kOk, Outcome::kOk, Outcome::kBusy, Outcome::kDeadline,
                                Outcome::kCancelled, Outcome::kFailed, Outcome::kLost}) {
    records.push_back(ended(0, outcome));
  }
  records[12].retry_after_us = 0;
  const nlohmann::json json = report(load, records);
  EXPECT_EQ(json["submitted"], 7);
  EXPECT_EQ(json["ok"], 2);
  for (const char* name : {"busy", "deadline", "cancelled", "failed", "lost"}) {
    EXPECT_EQ(json[name], 1) << name;
  }
  EXPECT_EQ(json["busy_without_hint"], 1);
  EXPECT_TRUE(json["retry_after_us"].empty());
}

TEST(Account, LatencyCountsFromWhenARequestWasDueAndBusyFromWhenItWasSent) {
  Load load;
  load.phases = {{1, kSecond}, {1, kSecond}};
  Record late = answered(100 * kMillisecond, 50 * kMillisecond);
  late.sent = late.due + 30 * kMillisecond;  // the generator was held up: that counts, too
  Record busy = ended(200 * kMillisecond, Outcome::kBusy);
  busy.sent = busy.due + 20 * kMillisecond;
  busy.done = busy.sent + kMillisecond;
  busy.retry_after_us = 1500;
  const nlohmann::json json = report(load, std::vector{late, busy});
  const nlohmann::json& phase = json["phases"][0];
  EXPECT_EQ(phase["p50_us"], 50'000);
  EXPECT_EQ(phase["busy_p99_us"], 1'000);
  EXPECT_EQ(phase["late_max_us"], 30'000);
  EXPECT_EQ(json["retry_after_us"], nlohmann::json({1500, 1500}));
  EXPECT_EQ(json["phases"][1]["submitted"], 0);
}

TEST(Account, GoodputIsCountedWhenTheAnswerCame) {
  Load load;
  load.phases = {{1, 100 * kMillisecond}, {1, 105 * kMillisecond}};
  const std::vector<Record> records = {
      answered(0, 5 * kMillisecond), answered(0, 15 * kMillisecond),
      answered(99 * kMillisecond, 2 * kMillisecond),    // an answer of the second phase
      answered(204 * kMillisecond, 10 * kMillisecond),  // after the end
      ended(0, Outcome::kBusy)};
  const std::vector<std::uint32_t> buckets = goodput(load, records);
  ASSERT_EQ(buckets.size(), 21U);
  EXPECT_EQ(buckets[0], 1U);
  EXPECT_EQ(buckets[1], 1U);
  EXPECT_EQ(buckets[10], 1U);
  EXPECT_EQ(std::accumulate(buckets.begin(), buckets.end(), 0U), 3U);
  const nlohmann::json json = report(load, records);
  EXPECT_EQ(json["phases"][0]["ok_per_s"], 20.0);
  EXPECT_EQ(json["phases"][0]["offered_per_s"], 50.0);
}

TEST(Account, ItHasSettledWhenWhatIsDueFromThenOnIsQuick) {
  std::vector<Record> records;
  for (Nanos due = 0; due < kSecond; due += kMillisecond) {
    const bool slow = due < 300 * kMillisecond;
    records.push_back(answered(due, (slow ? 80 : 2) * kMillisecond));
  }
  const Nanos limit = 3 * kMillisecond;
  // 7 slow ones among 707 are 1 in 100.
  EXPECT_EQ(settled_after(records, 0, kSecond, limit), 293 * kMillisecond);
  EXPECT_EQ(settled_after(records, 500 * kMillisecond, kSecond, limit), 0);
  EXPECT_EQ(settled_after(records, 0, kSecond, 100 * kMillisecond), 0);
  EXPECT_LT(settled_after(records, 0, 300 * kMillisecond, limit), 0) << "never";
  EXPECT_LT(settled_after(records, 2 * kSecond, 3 * kSecond, limit), 0) << "nobody asked";
  records.back() = ended(999 * kMillisecond, Outcome::kBusy);
  EXPECT_GT(settled_after(records, 0, kSecond, limit), 293 * kMillisecond)
      << "who is refused is not served as before";
}

}  // namespace
}  // namespace nacelle::bench::serve
