// One process of the load generator, against servers that follow a script.
#include "bench/serve/client.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>

#include "bench/serve/schedule.h"

namespace nacelle::bench::serve {
namespace {

using base::kMillisecond;
using base::Nanos;

// A server of the test's choice: answers what `answer` says, oldest first, `per_look` at each look.
class Script : public Target {
 public:
  [[nodiscard]] bool room() const override { return open.size() < places; }
  void start(std::uint64_t id, std::uint32_t text, Nanos timeout,
             std::vector<Ended>& ended) override {
    most_open = std::max(most_open, open.size() + 1);
    texts.push_back(text);
    timeouts.push_back(timeout);
    if (at_once) {
      ended.push_back({id, answer, 1234});
    } else {
      open.push_back(id);
    }
  }
  bool give_up(std::uint64_t id) override { return std::erase(open, id) > 0; }
  void advance(std::vector<Ended>& ended) override {
    for (std::size_t i = 0; i < per_look && !open.empty(); ++i) {
      ended.push_back({open.front(), answer, 0});
      open.pop_front();
    }
  }
  void watch(std::vector<pollfd>& /*descriptors*/) const override {}
  [[nodiscard]] const std::string& complaint() const override { return nothing; }

  std::size_t places = SIZE_MAX;
  bool at_once = false;
  std::size_t per_look = SIZE_MAX;
  Outcome answer = Outcome::kOk;
  std::deque<std::uint64_t> open;
  std::vector<std::uint32_t> texts;
  std::vector<Nanos> timeouts;
  std::size_t most_open = 0;
  std::string nothing;
};

class ServeClient : public ::testing::Test {
 protected:
  ServeClient() {
    load.phases = {{2000, 20 * kMillisecond}};
    load.grace = 60 * base::kSecond;
  }

  void run() {
    const auto made = make_schedule(load, 0, kTexts);
    ASSERT_TRUE(made);
    arrivals = *made;
    if (load.pattern == Pattern::kClosed) {
      records.assign(kClosedRecords, {});
    } else {
      records.assign(arrivals.size(), {});
      write_down(arrivals, records);
    }
    run_client(load, arrivals, kTexts, base::now_ns(), target, records);
  }
  [[nodiscard]] std::size_t count(Outcome outcome) const {
    return static_cast<std::size_t>(
        std::count_if(records.begin(), records.end(),
                      [outcome](const Record& record) { return record.outcome == outcome; }));
  }

  static constexpr std::uint32_t kTexts[] = {3, 1, 4};
  static constexpr std::size_t kClosedRecords = 100;
  Load load;
  Script target;
  std::vector<Arrival> arrivals;
  std::vector<Record> records;
};

TEST_F(ServeClient, SendsEverythingThatIsDueAndNothingBefore) {
  run();
  ASSERT_GT(records.size(), 10U);
  EXPECT_EQ(count(Outcome::kOk), records.size());
  for (std::size_t i = 0; i < records.size(); ++i) {
    EXPECT_GE(records[i].sent, records[i].due);
    EXPECT_GE(records[i].done, records[i].sent);
    EXPECT_EQ(target.texts[i], arrivals[i].text);
    EXPECT_EQ(target.timeouts[i], 0);
  }
}

TEST_F(ServeClient, ARequestMayEndAtOnce) {
  target.at_once = true;
  target.answer = Outcome::kBusy;
  run();
  EXPECT_EQ(count(Outcome::kBusy), records.size());
  for (const Record& record : records) EXPECT_EQ(record.retry_after_us, 1234U);
}

TEST_F(ServeClient, WhatIsNeverAnsweredIsLost) {
  target.per_look = 0;
  load.grace = 20 * kMillisecond;
  run();
  EXPECT_EQ(count(Outcome::kLost), records.size());
  EXPECT_EQ(target.open.size(), records.size()) << "no answer kept the next one from being sent";
}

TEST_F(ServeClient, WithoutRoomRequestsWaitAndTheirTimeCounts) {
  target.places = 1;
  target.per_look = 1;
  run();
  EXPECT_EQ(count(Outcome::kOk), records.size());
  EXPECT_EQ(target.most_open, 1U);
  EXPECT_GT(records.back().sent, records.back().due);
}

TEST_F(ServeClient, WhoseDeadlinePassedBeforeThereWasRoomIsNotSent) {
  target.places = 1;
  target.per_look = 0;
  load.timeout = kMillisecond;
  load.grace = 100 * kMillisecond;
  run();
  // On a busy machine the first deadline may have passed as well.
  const std::size_t sent = target.texts.size();
  EXPECT_LE(sent, 1U);
  EXPECT_EQ(count(Outcome::kLost), sent);
  EXPECT_EQ(count(Outcome::kDeadline), records.size() - sent);
  for (const Nanos timeout : target.timeouts) {
    EXPECT_GT(timeout, 0);
    EXPECT_LE(timeout, kMillisecond);
  }
}

TEST_F(ServeClient, GivesUpWhatItWasToldToUnlessItHasEnded) {
  load.cancel_share = 1;
  load.cancel_after = 0;
  target.per_look = 0;
  run();
  EXPECT_EQ(count(Outcome::kCancelled), records.size());
  target.at_once = true;
  run();
  EXPECT_EQ(count(Outcome::kOk), records.size());
}

TEST_F(ServeClient, AClosedLoadKeepsSoManyUnderWayUntilItsRecordsAreUsedUp) {
  load.pattern = Pattern::kClosed;
  load.in_flight = 3;
  load.phases = {{1, 50 * kMillisecond}};
  target.at_once = true;
  run();
  EXPECT_EQ(count(Outcome::kOk), kClosedRecords);
  for (std::size_t i = 0; i < kClosedRecords; ++i) EXPECT_EQ(target.texts[i], kTexts[i % 3]);
  target.at_once = false;
  target.per_look = 1;
  run();
  EXPECT_EQ(target.most_open, 3U);
  EXPECT_EQ(count(Outcome::kOk) + count(Outcome::kUnused), kClosedRecords);
}

}  // namespace
}  // namespace nacelle::bench::serve
