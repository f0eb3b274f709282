// The scheduler's decisions on a clock that the test holds.
#include "sidecar/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace nacelle::sidecar {
namespace {

using ::testing::ElementsAre;

constexpr base::Nanos kLongTime = 1000 * base::kSecond;

const std::function<bool(const Request&)> kNobodyLeft = [](const Request&) { return false; };

// Requests of made-up clients: `tokens` says how many tokens each text has.
struct Crowd {
  std::vector<std::shared_ptr<ClientState>> clients{std::make_shared<ClientState>(),
                                                    std::make_shared<ClientState>()};
  std::unique_ptr<Request> request(std::uint64_t id, const std::vector<std::uint32_t>& tokens,
                                   base::Nanos arrived = 0, base::Nanos deadline = kLongTime,
                                   std::uint32_t service = 0, std::size_t client = 0) const {
    auto request = std::make_unique<Request>();
    request->client = clients[client];
    request->generation = id;
    request->service = service;
    request->arrived = arrived;
    request->deadline = deadline;
    request->texts = static_cast<std::uint32_t>(tokens.size());
    request->offsets.assign(1, 0);
    for (const std::uint32_t count : tokens) {
      request->offsets.push_back(request->offsets.back() + count);
    }
    request->ids.resize(request->offsets.back());
    return request;
  }
};

std::vector<std::uint64_t> ids(const std::vector<std::unique_ptr<Request>>& requests) {
  std::vector<std::uint64_t> out;
  for (const auto& request : requests) out.push_back(request->generation);
  return out;
}

TEST(Scheduler, AnEmptyQueueHasNothingToDo) {
  Scheduler scheduler({});
  const Decision decision = scheduler.next(0, kNobodyLeft);
  EXPECT_FALSE(decision.batch);
  EXPECT_EQ(decision.wake_at, base::kNever);
}

TEST(Scheduler, WhatWaitsRunsTogetherAtOnce) {
  const Crowd crowd;
  Scheduler scheduler({.batch_tokens_max = 100});
  ASSERT_FALSE(scheduler.add(crowd.request(1, {10, 20})));
  ASSERT_FALSE(scheduler.add(crowd.request(2, {30}, 0, kLongTime, 0, 1)));
  const Decision decision = scheduler.next(5, kNobodyLeft);
  ASSERT_TRUE(decision.batch);
  EXPECT_EQ(decision.batch->tokens, 60U);
  EXPECT_EQ(decision.batch->texts, 3U);
  EXPECT_EQ(decision.batch->clients, 2U);
  EXPECT_THAT(ids(decision.batch->finishing), ElementsAre(1, 2));
  EXPECT_EQ(scheduler.queued_tokens(), 0U);
}

TEST(Scheduler, TheTokenBudgetIsNeverExceededAndALongListGoesInParts) {
  const Crowd crowd;
  Scheduler scheduler({.batch_tokens_max = 50});
  ASSERT_FALSE(scheduler.add(crowd.request(1, {20, 20, 20, 20, 20})));
  ASSERT_FALSE(scheduler.add(crowd.request(2, {10})));
  std::vector<std::uint32_t> sizes;
  std::vector<std::uint64_t> finished;
  while (true) {
    const Decision decision = scheduler.next(0, kNobodyLeft);
    if (!decision.batch) break;
    EXPECT_LE(decision.batch->tokens, 50U);
    sizes.push_back(decision.batch->texts);
    for (const std::uint64_t id : ids(decision.batch->finishing)) finished.push_back(id);
  }
  EXPECT_THAT(sizes, ElementsAre(2, 2, 2)) << "2, 2, then the fifth with the other request";
  EXPECT_THAT(finished, ElementsAre(1, 2));
}

TEST(Scheduler, ATextAsLongAsTheBudgetStillRuns) {
  const Crowd crowd;
  Scheduler scheduler({.batch_tokens_max = 50});
  ASSERT_FALSE(scheduler.add(crowd.request(1, {50, 50})));
  EXPECT_EQ(scheduler.next(0, kNobodyLeft).batch->texts, 1U);
  EXPECT_EQ(scheduler.next(0, kNobodyLeft).batch->texts, 1U);
}

TEST(Scheduler, TextsWithoutTokensCostNothingAndEndWithTheirRequest) {
  const Crowd crowd;
  Scheduler scheduler({.batch_tokens_max = 50});
  ASSERT_FALSE(scheduler.add(crowd.request(1, {0, 10, 0, 0})));
  const Decision decision = scheduler.next(0, kNobodyLeft);
  ASSERT_TRUE(decision.batch);
  EXPECT_EQ(decision.batch->texts, 1U);
  EXPECT_EQ(decision.batch->slices[0].count, 4U);
  EXPECT_THAT(ids(decision.batch->finishing), ElementsAre(1));
}

TEST(Scheduler, ServicesAndTasksDoNotMixAndTheOldestGoesFirst) {
  const Crowd crowd;
  Scheduler scheduler({.batch_tokens_max = 100});
  ASSERT_FALSE(scheduler.add(crowd.request(1, {1}, 0, kLongTime, 7)));
  ASSERT_FALSE(scheduler.add(crowd.request(2, {1}, 1, kLongTime, 8)));
  ASSERT_FALSE(scheduler.add(crowd.request(3, {1}, 2, kLongTime, 7)));
  auto classify = crowd.request(4, {1}, 3, kLongTime, 7);
  classify->task = model::Task::kClassify;
  ASSERT_FALSE(scheduler.add(std::move(classify)));
  EXPECT_THAT(ids(scheduler.next(9, kNobodyLeft).batch->finishing), ElementsAre(1, 3));
  EXPECT_THAT(ids(scheduler.next(9, kNobodyLeft).batch->finishing), ElementsAre(2));
  EXPECT_THAT(ids(scheduler.next(9, kNobodyLeft).batch->finishing), ElementsAre(4));
}

TEST(Scheduler, ABatchThatIsNotFullWaitsForCompanyButNotLonger) {
  const Crowd crowd;
  Scheduler scheduler({.batch_tokens_max = 100, .max_delay = 500});
  ASSERT_FALSE(scheduler.add(crowd.request(1, {10}, 1000)));
  Decision decision = scheduler.next(1100, kNobodyLeft);
  EXPECT_FALSE(decision.batch);
  EXPECT_EQ(decision.wake_at, 1500);
  ASSERT_FALSE(scheduler.add(crowd.request(2, {10}, 1400)));
  decision = scheduler.next(1499, kNobodyLeft);
  EXPECT_FALSE(decision.batch);
  decision = scheduler.next(1500, kNobodyLeft);
  ASSERT_TRUE(decision.batch);
  EXPECT_EQ(decision.batch->texts, 2U);
}

TEST(Scheduler, AFullBatchDoesNotWait) {
  const Crowd crowd;
  Scheduler scheduler({.batch_tokens_max = 20, .max_delay = 500});
  ASSERT_FALSE(scheduler.add(crowd.request(1, {10}, 1000)));
  ASSERT_FALSE(scheduler.add(crowd.request(2, {10}, 1001)));
  EXPECT_TRUE(scheduler.next(1002, kNobodyLeft).batch);
}

TEST(Scheduler, ARequestThatHasBegunDoesNotWaitAgain) {
  const Crowd crowd;
  Scheduler scheduler({.batch_tokens_max = 20, .max_delay = 500});
  ASSERT_FALSE(scheduler.add(crowd.request(1, {20, 5}, 1000)));
  EXPECT_TRUE(scheduler.next(1000, kNobodyLeft).batch);
  EXPECT_TRUE(scheduler.next(1001, kNobodyLeft).batch) << "its last text, alone";
}

TEST(Scheduler, ExpiredWorkNeverStarts) {
  const Crowd crowd;
  Scheduler scheduler({.batch_tokens_max = 100});
  ASSERT_FALSE(scheduler.add(crowd.request(1, {10}, 0, 100)));
  ASSERT_FALSE(scheduler.add(crowd.request(2, {10}, 0, 200)));
  const Decision decision = scheduler.next(100, kNobodyLeft);
  ASSERT_EQ(decision.dropped.size(), 1U);
  EXPECT_EQ(decision.dropped[0].request->generation, 1U);
  EXPECT_EQ(decision.dropped[0].status.error().code, base::Code::kDeadlineExceeded);
  EXPECT_THAT(ids(decision.batch->finishing), ElementsAre(2));
}

TEST(Scheduler, WaitingForCompanyEndsWithTheFirstDeadline) {
  const Crowd crowd;
  Scheduler scheduler({.batch_tokens_max = 100, .max_delay = 500});
  ASSERT_FALSE(scheduler.add(crowd.request(1, {10}, 0)));
  ASSERT_FALSE(scheduler.add(crowd.request(2, {10}, 0, 90)));
  EXPECT_EQ(scheduler.next(10, kNobodyLeft).wake_at, 90);
}

TEST(Scheduler, WhatItsClientGaveUpIsDroppedInsteadOfRun) {
  const Crowd crowd;
  Scheduler scheduler({.batch_tokens_max = 100});
  ASSERT_FALSE(scheduler.add(crowd.request(1, {10})));
  ASSERT_FALSE(scheduler.add(crowd.request(2, {10})));
  const Decision decision =
      scheduler.next(0, [](const Request& request) { return request.generation == 1; });
  ASSERT_EQ(decision.dropped.size(), 1U);
  EXPECT_EQ(decision.dropped[0].status.error().code, base::Code::kCancelled);
  EXPECT_THAT(ids(decision.batch->finishing), ElementsAre(2));
}

TEST(Scheduler, AFullQueueGivesTheRequestBack) {
  const Crowd crowd;
  Scheduler scheduler({.queue_requests_max = 2});
  ASSERT_FALSE(scheduler.add(crowd.request(1, {10})));
  ASSERT_FALSE(scheduler.add(crowd.request(2, {10})));
  const std::unique_ptr<Request> refused = scheduler.add(crowd.request(3, {10}));
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->generation, 3U);
}

TEST(Scheduler, QueuedTokensAreBoundedButOneLargeRequestAlwaysGetsIn) {
  const Crowd crowd;
  Scheduler scheduler({.queue_tokens_max = 100});
  EXPECT_FALSE(scheduler.add(crowd.request(1, std::vector<std::uint32_t>(30, 10))));
  EXPECT_TRUE(scheduler.add(crowd.request(2, {1}))) << "no more beside it";
}

TEST(Scheduler, AFailedRequestIsRemovedWithTheRestOfIts) {
  const Crowd crowd;
  Scheduler scheduler({.batch_tokens_max = 10});
  ASSERT_FALSE(scheduler.add(crowd.request(1, {10, 10, 10})));
  const Decision decision = scheduler.next(0, kNobodyLeft);
  const std::unique_ptr<Request> rest = scheduler.remove(decision.batch->slices.back().request);
  ASSERT_TRUE(rest);
  EXPECT_EQ(scheduler.queued_requests(), 0U);
  EXPECT_EQ(scheduler.queued_tokens(), 0U);
  EXPECT_FALSE(scheduler.remove(rest.get())) << "once";
}

// Whatever comes, nothing is lost, doubled, or run out of its bounds.
TEST(Scheduler, EveryRequestOfARandomDayEndsExactlyOnce) {
  for (unsigned seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    const auto below = [&random](std::uint32_t bound) {
      return static_cast<std::uint32_t>(random() % bound);
    };
    const Crowd crowd;
    const SchedulerLimits limits{.batch_tokens_max = 64,
                                 .max_delay = below(3) == 0 ? 0 : 200,
                                 .queue_requests_max = 16,
                                 .queue_tokens_max = 1000};
    Scheduler scheduler(limits);
    std::multiset<std::uint64_t> ended;
    std::uint64_t sent = 0;
    base::Nanos now = 0;
    const auto step = [&](bool may_wait) {
      Decision decision =
          scheduler.next(now, [&](const Request& request) { return request.generation % 17 == 0; });
      for (const Outcome& outcome : decision.dropped) ended.insert(outcome.request->generation);
      if (!decision.batch) {
        if (!may_wait && decision.wake_at != base::kNever) now = decision.wake_at;
        return;
      }
      EXPECT_LE(decision.batch->tokens, limits.batch_tokens_max);
      std::uint32_t tokens = 0;
      for (const Slice& slice : decision.batch->slices) {
        EXPECT_EQ(slice.request->service, decision.batch->service);
        EXPECT_GT(slice.request->deadline, now);
        for (std::uint32_t i = slice.first; i < slice.first + slice.count; ++i) {
          tokens += slice.request->tokens(i);
        }
      }
      EXPECT_EQ(tokens, decision.batch->tokens);
      for (const auto& request : decision.batch->finishing) ended.insert(request->generation);
    };
    for (int i = 0; i < 2000; ++i) {
      now += below(100);
      if (below(2) == 0) {
        std::vector<std::uint32_t> tokens(1 + below(6));
        for (std::uint32_t& count : tokens) count = below(40);
        tokens[0] += 1;
        const base::Nanos deadline = now + 1 + below(3000);
        auto refused =
            scheduler.add(crowd.request(++sent, tokens, now, deadline, below(2), below(2)));
        if (refused) ended.insert(refused->generation);
      } else {
        step(true);
      }
      ASSERT_LE(scheduler.queued_requests(), limits.queue_requests_max);
    }
    for (int i = 0; i < 1000 && scheduler.queued_requests() > 0; ++i) step(false);
    EXPECT_EQ(scheduler.queued_requests(), 0U);
    EXPECT_EQ(scheduler.queued_tokens(), 0U);
    ASSERT_EQ(ended.size(), sent);
    for (std::uint64_t id = 1; id <= sent; ++id) ASSERT_EQ(ended.count(id), 1U) << id;
  }
}

}  // namespace
}  // namespace nacelle::sidecar
