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
    load_.phases = {{2000, 20 * kMillisecond}};
    load_.grace = 60 * base::kSecond;
  }

  void run() {
    const auto made = make_schedule(load_, 0, kTexts);
    ASSERT_TRUE(made);
    arrivals_ = *made;
    if (load_.pattern == Pattern::kClosed) {
      records_.assign(kClosedRecords, {});
    } else {
      records_.assign(arrivals_.size(), {});
      write_down(arrivals_, records_);
    }
    run_client(load_, arrivals_, kTexts, base::now_ns(), target_, records_);
  }
  [[nodiscard]] std::size_t count(Outcome outcome) const {
    return static_cast<std::size_t>(
        std::count_if(records_.begin(), records_.end(),
                      [outcome](const Record& record) { return record.outcome == outcome; }));
  }

  static constexpr std::uint32_t kTexts[] = {3, 1, 4};
  static constexpr std::size_t kClosedRecords = 100;
  Load load_;
  Script target_;
  std::vector<Arrival> arrivals_;
  std::vector<Record> records_;
};

TEST_F(ServeClient, SendsEverythingThatIsDueAndNothingBefore) {
  run();
  ASSERT_GT(records_.size(), 10U);
  EXPECT_EQ(count(Outcome::kOk), records_.size());
  for (std::size_t i = 0; i < records_.size(); ++i) {
    EXPECT_GE(records_[i].sent, records_[i].due);
    EXPECT_GE(records_[i].done, records_[i].sent);
    EXPECT_EQ(target_.texts[i], arrivals_[i].text);
    EXPECT_EQ(target_.timeouts[i], 0);
  }
}

TEST_F(ServeClient, ARequestMayEndAtOnce) {
  target_.at_once = true;
  target_.answer = Outcome::kBusy;
  run();
  EXPECT_EQ(count(Outcome::kBusy), records_.size());
  for (const Record& record : records_) EXPECT_EQ(record.retry_after_us, 1234U);
}

TEST_F(ServeClient, WhatIsNeverAnsweredIsLost) {
  target_.per_look = 0;
  load_.grace = 20 * kMillisecond;
  run();
  EXPECT_EQ(count(Outcome::kLost), records_.size());
  EXPECT_EQ(target_.open.size(), records_.size()) << "no answer kept the next one from being sent";
}

TEST_F(ServeClient, WithoutRoomRequestsWaitAndTheirTimeCounts) {
  target_.places = 1;
  target_.per_look = 1;
  run();
  EXPECT_EQ(count(Outcome::kOk), records_.size());
  EXPECT_EQ(target_.most_open, 1U);
  EXPECT_GT(records_.back().sent, records_.back().due);
}

TEST_F(ServeClient, WhoseDeadlinePassedBeforeThereWasRoomIsNotSent) {
  target_.places = 1;
  target_.per_look = 0;
  load_.timeout = kMillisecond;
  load_.grace = 100 * kMillisecond;
  run();
  // On a busy machine the first deadline may have passed as well.
  const std::size_t sent = target_.texts.size();
  EXPECT_LE(sent, 1U);
  EXPECT_EQ(count(Outcome::kLost), sent);
  EXPECT_EQ(count(Outcome::kDeadline), records_.size() - sent);
  for (const Nanos timeout : target_.timeouts) {
    EXPECT_GT(timeout, 0);
    EXPECT_LE(timeout, kMillisecond);
  }
}

TEST_F(ServeClient, GivesUpWhatItWasToldToUnlessItHasEnded) {
  load_.cancel_share = 1;
  load_.cancel_after = 0;
  target_.per_look = 0;
  run();
  EXPECT_EQ(count(Outcome::kCancelled), records_.size());
  target_.at_once = true;
  run();
  EXPECT_EQ(count(Outcome::kOk), records_.size());
}

TEST_F(ServeClient, AClosedLoadKeepsSoManyUnderWayUntilItsRecordsAreUsedUp) {
  load_.pattern = Pattern::kClosed;
  load_.in_flight = 3;
  load_.phases = {{1, 50 * kMillisecond}};
  target_.at_once = true;
  run();
  EXPECT_EQ(count(Outcome::kOk), kClosedRecords);
  for (std::size_t i = 0; i < kClosedRecords; ++i) EXPECT_EQ(target_.texts[i], kTexts[i % 3]);
  target_.at_once = false;
  target_.per_look = 1;
  run();
  EXPECT_EQ(target_.most_open, 3U);
  EXPECT_EQ(count(Outcome::kOk) + count(Outcome::kUnused), kClosedRecords);
}

}  // namespace
}  // namespace nacelle::bench::serve
