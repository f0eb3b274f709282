// The scheduler's decisions on a clock that the test holds.
#include "sidecar/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace nacelle::sidecar {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

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
    // No two are the same, so none follows another.
    request->ids.assign(request->offsets.back(), static_cast<std::uint32_t>(id));
    return request;
  }
};

std::vector<std::uint64_t> ids(const std::vector<Outcome>& outcomes) {
  std::vector<std::uint64_t> out;
  for (const Outcome& outcome : outcomes) out.push_back(outcome.request->generation);
  return out;
}

// Runs the batch, which the decision must have, at once and without a fault: who is answered?
std::vector<std::uint64_t> run(Scheduler& scheduler, const Decision& decision,
                               base::Nanos now = 0) {
  if (!decision.batch) {
    ADD_FAILURE() << "no batch";
    return {};
  }
  return ids(scheduler.finished(*decision.batch, base::ok(), 0, now, kNobodyLeft));
}
std::vector<std::uint64_t> run_next(Scheduler& scheduler, base::Nanos now = 0) {
  return run(scheduler, scheduler.next(now, kNobodyLeft), now);
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
  EXPECT_EQ(scheduler.queued_tokens(), 0U);
  EXPECT_EQ(scheduler.queued_requests(), 0U);
  EXPECT_THAT(run(scheduler, decision, 5), ElementsAre(1, 2));
  EXPECT_EQ(scheduler.held_requests(), 0U);
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
    for (const std::uint64_t id : run(scheduler, decision)) finished.push_back(id);
  }
  EXPECT_THAT(sizes, ElementsAre(3, 2, 1)) << "the short one fills what the long list leaves";
  EXPECT_THAT(finished, ElementsAre(2, 1));
}

TEST(Scheduler, ATextAsLongAsTheBudgetStillRuns) {
  const Crowd crowd;
  Scheduler scheduler({.batch_tokens_max = 50});
  ASSERT_FALSE(scheduler.add(crowd.request(1, {50, 50})));
  const Decision first = scheduler.next(0, kNobodyLeft);
  EXPECT_EQ(first.batch->texts, 1U);
  EXPECT_THAT(run(scheduler, first), ElementsAre());
  EXPECT_THAT(run_next(scheduler), ElementsAre(1));
}

TEST(Scheduler, TextsWithoutTokensCostNothingAndEndWithTheirRequest) {
  const Crowd crowd;
  Scheduler scheduler({.batch_tokens_max = 50});
  ASSERT_FALSE(scheduler.add(crowd.request(1, {0, 10, 0, 0})));
  const Decision decision = scheduler.next(0, kNobodyLeft);
  ASSERT_TRUE(decision.batch);
  EXPECT_EQ(decision.batch->texts, 1U);
  EXPECT_EQ(decision.batch->slices[0].count, 4U);
  EXPECT_THAT(run(scheduler, decision), ElementsAre(1));
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
  EXPECT_THAT(run_next(scheduler, 9), ElementsAre(1, 3));
  EXPECT_THAT(run_next(scheduler, 9), ElementsAre(2));
  EXPECT_THAT(run_next(scheduler, 9), ElementsAre(4));
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
  EXPECT_THAT(run_next(scheduler, 1000), ElementsAre());
  EXPECT_THAT(run_next(scheduler, 1001), ElementsAre(1)) << "its last text, alone";
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
  EXPECT_THAT(run(scheduler, decision), ElementsAre(2));
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
  EXPECT_THAT(run(scheduler, decision), ElementsAre(2));
}

TEST(Scheduler, AFullQueueGivesTheRequestBack) {
  const Crowd crowd;
  Scheduler scheduler({.queue_requests_max = 2});
  ASSERT_FALSE(scheduler.add(crowd.request(1, {10})));
  ASSERT_FALSE(scheduler.add(crowd.request(2, {10})));
  const Refusal refused = scheduler.add(crowd.request(3, {10}));
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused.request->generation, 3U);
  EXPECT_EQ(refused.why.code, base::Code::kBusy);
  EXPECT_THAT(refused.why.message, HasSubstr("scheduler.queue_requests_max = 2"));
  EXPECT_GT(refused.retry_after, 0);
}

TEST(Scheduler, QueuedTokensAreBoundedButOneLargeRequestAlwaysGetsIn) {
  const Crowd crowd;
  Scheduler scheduler({.queue_tokens_max = 100});
  EXPECT_FALSE(scheduler.add(crowd.request(1, std::vector<std::uint32_t>(30, 10))));
  EXPECT_TRUE(scheduler.add(crowd.request(2, {1}))) << "no more beside it";
}

TEST(Scheduler, WhoeverComesFindsRoomInAQueueThatOthersFill) {
  constexpr std::size_t kGreedy = 9;
  Crowd crowd;
  while (crowd.clients.size() <= kGreedy) crowd.clients.push_back(std::make_shared<ClientState>());
  Scheduler scheduler({.queue_requests_max = 100, .queue_tokens_max = 10'000});
  std::uint64_t id = 0;
  for (int round = 0; round < 100; ++round) {
    for (std::size_t client = 0; client < kGreedy; ++client) {
      const Refusal refused = scheduler.add(crowd.request(++id, {10}, 0, kLongTime, 0, client));
      if (!refused) continue;
      EXPECT_THAT(refused.why.message, HasSubstr("for other clients"));
    }
  }
  EXPECT_EQ(scheduler.queued_requests(), 91U) << "each greedy one as much as is free, and one more";
  for (std::uint32_t i = 0; i < 5; ++i) {
    EXPECT_FALSE(scheduler.add(crowd.request(++id, {10}, 0, kLongTime, 0, kGreedy)));
  }
  EXPECT_TRUE(scheduler.add(crowd.request(++id, {10}, 0, kLongTime, 0, kGreedy)));
}

TEST(Scheduler, OfTheTokensAClientTakesNoMoreThanItLeaves) {
  const Crowd crowd;
  Scheduler scheduler({.queue_tokens_max = 100});
  ASSERT_FALSE(scheduler.add(crowd.request(1, {40})));
  const Refusal refused = scheduler.add(crowd.request(2, {30}));
  ASSERT_TRUE(refused);
  EXPECT_THAT(refused.why.message,
              HasSubstr("for other clients (scheduler.queue_tokens_max = 100)"));
  EXPECT_FALSE(scheduler.add(crowd.request(3, {20})));
  EXPECT_FALSE(scheduler.add(crowd.request(4, {40}, 0, kLongTime, 0, 1)));
}

TEST(Scheduler, WhatWaitsIsBoundedInTimeButForThoseWhoHaveLittle) {
  Crowd crowd;
  crowd.clients.push_back(std::make_shared<ClientState>());
  Scheduler scheduler({.batch_tokens_max = 10, .queue_time_max = 100 * base::kMillisecond});
  std::uint64_t id = 0;
  const auto add = [&](std::size_t client) {
    return scheduler.add(crowd.request(++id, {10}, 0, kLongTime, 0, client));
  };
  // A token costs a millisecond.
  for (int i = 0; i < 20; ++i) {
    ASSERT_FALSE(add(0));
    const Decision decision = scheduler.next(0, kNobodyLeft);
    (void)scheduler.finished(*decision.batch, base::ok(), 10 * base::kMillisecond, 0, kNobodyLeft);
  }
  for (int i = 0; i < 20; ++i) EXPECT_FALSE(add(0)) << "alone, it may queue what it likes";
  EXPECT_NEAR(static_cast<double>(scheduler.queue_time()), 200e6, 20e6);
  EXPECT_FALSE(add(1)) << "who has nothing yet gets in";
  const Refusal refused = add(0);
  ASSERT_TRUE(refused);
  EXPECT_THAT(refused.why.message, HasSubstr("scheduler.queue_ms_max = 100"));
  EXPECT_NEAR(static_cast<double>(refused.retry_after), 105e6, 11e6) << "when half is done";
  EXPECT_TRUE(scheduler.refuses(*crowd.clients[0])) << "whatever it asks";
  EXPECT_FALSE(scheduler.refuses(*crowd.clients[2]));
  for (int i = 0; i < 4; ++i) EXPECT_FALSE(add(1)) << "it has less than half of the time";
  (void)add(1);  // just half
  EXPECT_TRUE(add(1));
}

TEST(Scheduler, AFailedBatchFailsItsRequestsWithTheRestOfTheirs) {
  const Crowd crowd;
  Scheduler scheduler({.batch_tokens_max = 10});
  ASSERT_FALSE(scheduler.add(crowd.request(1, {10, 10, 10})));
  const Decision decision = scheduler.next(0, kNobodyLeft);
  const auto failed = scheduler.finished(
      *decision.batch, base::Error{base::Code::kUnavailable, "no device"}, 0, 0, kNobodyLeft);
  ASSERT_THAT(ids(failed), ElementsAre(1));
  EXPECT_EQ(failed[0].status.error().code, base::Code::kUnavailable);
  EXPECT_EQ(scheduler.queued_requests(), 0U);
  EXPECT_EQ(scheduler.queued_tokens(), 0U);
  EXPECT_FALSE(scheduler.next(0, kNobodyLeft).batch);
}

// ---- services ----

TEST(Scheduler, AServicesLimitsCountWhatRunsAndWhatWaits) {
  const Crowd crowd;
  Scheduler scheduler({.batch_tokens_max = 100},
                      {{.name = "cases", .max_concurrent = 2, .max_queue_size = 1}});
  for (std::uint64_t id = 1; id <= 3; ++id) ASSERT_FALSE(scheduler.add(crowd.request(id, {10})));
  const Refusal refused = scheduler.add(crowd.request(4, {10}));
  ASSERT_TRUE(refused) << "two have a place, one waits";
  EXPECT_EQ(refused.why.code, base::Code::kBusy);
  EXPECT_THAT(refused.why.message, HasSubstr("services.cases.max_queue_size = 1"));
  EXPECT_GT(refused.retry_after, 0);
  const Decision decision = scheduler.next(0, kNobodyLeft);
  EXPECT_EQ(decision.batch->texts, 2U) << "no more of them at a time";
  EXPECT_EQ(scheduler.running(0), 2U);
  EXPECT_EQ(scheduler.waiting(0), 1U);
  EXPECT_TRUE(scheduler.add(crowd.request(5, {10})));
  EXPECT_THAT(run(scheduler, decision), ElementsAre(1, 2));
  EXPECT_FALSE(scheduler.add(crowd.request(6, {10}))) << "there is room again";
  EXPECT_THAT(run_next(scheduler), ElementsAre(3, 6));
}

TEST(Scheduler, AServiceWithoutPlacesLetsOthersRun) {
  const Crowd crowd;
  Scheduler scheduler({.batch_tokens_max = 10}, {{.name = "cases", .max_concurrent = 1}, {}});
  ASSERT_FALSE(scheduler.add(crowd.request(1, {10, 10})));
  ASSERT_FALSE(scheduler.add(crowd.request(2, {10}, 0, kLongTime, 0, 1)));
  ASSERT_FALSE(scheduler.add(crowd.request(3, {10}, 0, kLongTime, 1, 1)));
  std::vector<std::uint64_t> order;
  for (int i = 0; i < 4; ++i) {
    for (const std::uint64_t id : run_next(scheduler)) order.push_back(id);
    EXPECT_LE(scheduler.running(0), 1U);
  }
  EXPECT_THAT(order, ::testing::UnorderedElementsAre(1, 2, 3));
  EXPECT_EQ(scheduler.held_requests(), 0U);
}

TEST(Scheduler, AServiceWithoutAQueueTakesWhatItCanRun) {
  const Crowd crowd;
  Scheduler scheduler({}, {{.name = "chat", .max_concurrent = 2, .max_queue_size = 0}});
  EXPECT_FALSE(scheduler.add(crowd.request(1, {10})));
  EXPECT_FALSE(scheduler.add(crowd.request(2, {10})));
  EXPECT_TRUE(scheduler.add(crowd.request(3, {10})));
}

TEST(Scheduler, AHigherClassGoesFirst) {
  const Crowd crowd;
  Scheduler scheduler({}, {{.name = "low", .priority = 2}, {.name = "high", .priority = 0}});
  ASSERT_FALSE(scheduler.add(crowd.request(1, {10}, 0, kLongTime, 0)));
  ASSERT_FALSE(scheduler.add(crowd.request(2, {10}, 5, kLongTime, 1, 1)));
  EXPECT_THAT(run_next(scheduler, 6), ElementsAre(2));
  EXPECT_THAT(run_next(scheduler, 6), ElementsAre(1));
}

// ---- clients ----

TEST(Scheduler, EveryClientGetsIntoABatchHoweverMuchAnotherHasQueued) {
  const Crowd crowd;
  Scheduler scheduler({.batch_tokens_max = 100});
  for (std::uint64_t id = 1; id <= 50; ++id) ASSERT_FALSE(scheduler.add(crowd.request(id, {10})));
  ASSERT_FALSE(scheduler.add(crowd.request(51, {10}, 0, kLongTime, 0, 1)));
  const std::vector<std::uint64_t> first = run_next(scheduler);
  EXPECT_EQ(first.size(), 10U);
  EXPECT_THAT(first, ::testing::Contains(51));
}

TEST(Scheduler, ComputeTimeIsChargedNotRequests) {
  const Crowd crowd;
  Scheduler scheduler({.batch_tokens_max = 10});
  // Client 0's texts cost the device three times as much as those of client 1.
  std::map<std::size_t, base::Nanos> spent;
  std::uint64_t id = 0;
  for (int i = 0; i < 50; ++i) {
    ASSERT_FALSE(scheduler.add(crowd.request(++id * 2, {10}, 0, kLongTime, 0, 0)));
    ASSERT_FALSE(scheduler.add(crowd.request(id * 2 + 1, {10}, 0, kLongTime, 0, 1)));
  }
  for (int i = 0; i < 40; ++i) {
    const Decision decision = scheduler.next(0, kNobodyLeft);
    const std::size_t client = decision.batch->slices[0].request->generation % 2;
    const base::Nanos cost = client == 0 ? 3000 : 1000;
    spent[client] += cost;
    (void)scheduler.finished(*decision.batch, base::ok(), cost, 0, kNobodyLeft);
  }
  EXPECT_NEAR(static_cast<double>(spent[0]), static_cast<double>(spent[1]), 4000);
}

// ---- single flight ----

// The same as `id`, asked by somebody else.
std::unique_ptr<Request> twin(const Crowd& crowd, std::uint64_t id, std::uint64_t of,
                              base::Nanos deadline = kLongTime, std::size_t client = 1) {
  auto request = crowd.request(id, {10, 20}, 0, deadline, 0, client);
  request->ids.assign(30, static_cast<std::uint32_t>(of));
  return request;
}

TEST(Scheduler, TheSameRequestRunsOnceAndEverybodyIsAnswered) {
  const Crowd crowd;
  Scheduler scheduler({});
  ASSERT_FALSE(scheduler.add(twin(crowd, 1, 1, kLongTime, 0)));
  ASSERT_FALSE(scheduler.add(twin(crowd, 2, 1)));
  EXPECT_EQ(scheduler.queued_tokens(), 30U) << "of the leader alone";
  EXPECT_EQ(scheduler.queued_requests(), 2U);
  const Decision decision = scheduler.next(0, kNobodyLeft);
  EXPECT_EQ(decision.batch->texts, 2U);
  ASSERT_FALSE(scheduler.add(twin(crowd, 3, 1))) << "joins while it runs";
  ASSERT_FALSE(scheduler.add(twin(crowd, 4, 5))) << "another one";
  const auto outcomes = scheduler.finished(*decision.batch, base::ok(), 0, 0, kNobodyLeft);
  EXPECT_THAT(ids(outcomes), ElementsAre(1, 2, 3));
  EXPECT_EQ(outcomes[0].rows_of, nullptr);
  EXPECT_EQ(outcomes[1].rows_of, outcomes[0].request.get());
  EXPECT_EQ(outcomes[2].rows_of, outcomes[0].request.get());
  EXPECT_EQ(scheduler.counts().shared, 2U);
  EXPECT_THAT(run_next(scheduler), ElementsAre(4));
}

TEST(Scheduler, WhenTheLeaderLeavesAFollowerTakesOver) {
  const Crowd crowd;
  for (const bool by_deadline : {false, true}) {
    Scheduler scheduler({.batch_tokens_max = 20});
    auto leader = twin(crowd, 1, 1, by_deadline ? 50 : kLongTime, 0);
    auto follower = twin(crowd, 2, 1);
    std::vector<std::byte> rows_1(256);
    std::vector<std::byte> rows_2(256);
    leader->reply = rows_1;
    follower->reply = rows_2;
    ASSERT_FALSE(scheduler.add(std::move(leader)));
    ASSERT_FALSE(scheduler.add(std::move(follower)));
    EXPECT_THAT(run_next(scheduler), ElementsAre()) << "the first text";
    const Decision decision = scheduler.next(
        60, [&](const Request& request) { return !by_deadline && request.generation == 1; });
    EXPECT_THAT(ids(decision.dropped), ElementsAre(1));
    ASSERT_TRUE(decision.batch);
    EXPECT_EQ(decision.batch->texts, 1U) << "only what was left";
    EXPECT_THAT(run(scheduler, decision, 60), ElementsAre(2));
    EXPECT_EQ(scheduler.held_requests(), 0U);
  }
}

TEST(Scheduler, AFollowersOwnDeadlineAndWillHold) {
  const Crowd crowd;
  Scheduler scheduler({});
  ASSERT_FALSE(scheduler.add(twin(crowd, 1, 1, kLongTime, 0)));
  ASSERT_FALSE(scheduler.add(twin(crowd, 2, 1, 50)));
  ASSERT_FALSE(scheduler.add(twin(crowd, 3, 1, 80)));
  ASSERT_FALSE(scheduler.add(twin(crowd, 4, 1)));
  const Decision decision = scheduler.next(60, kNobodyLeft);
  EXPECT_THAT(ids(decision.dropped), ElementsAre(2)) << "it waited too long";
  const auto outcomes = scheduler.finished(*decision.batch, base::ok(), 0, 90,
                                           [](const Request& r) { return r.generation == 4; });
  ASSERT_THAT(ids(outcomes), ElementsAre(1, 3, 4));
  EXPECT_TRUE(outcomes[0].status);
  EXPECT_EQ(outcomes[1].status.error().code, base::Code::kDeadlineExceeded);
  EXPECT_EQ(outcomes[2].status.error().code, base::Code::kCancelled);
}

TEST(Scheduler, FollowersCountAsWaitingButNotInTheirService) {
  const Crowd crowd;
  Scheduler scheduler({.queue_requests_max = 4},
                      {{.name = "chat", .max_concurrent = 1, .max_queue_size = 0}});
  ASSERT_FALSE(scheduler.add(twin(crowd, 1, 1)));
  ASSERT_FALSE(scheduler.add(twin(crowd, 2, 1)));
  ASSERT_FALSE(scheduler.add(twin(crowd, 3, 1)));
  EXPECT_TRUE(scheduler.add(twin(crowd, 4, 1)));
}

// ---- memory ----

TEST(Scheduler, ARequestThatFailsByItselfFailsAlone) {
  const Crowd crowd;
  Scheduler scheduler({.batch_tokens_max = 40});
  ASSERT_FALSE(scheduler.add(crowd.request(1, {10, 40})));
  ASSERT_FALSE(scheduler.add(crowd.request(2, {10})));
  const Decision decision = scheduler.next(0, kNobodyLeft);
  ASSERT_EQ(decision.batch->texts, 2U);
  decision.batch->slices[0].request->failed = base::Error{base::Code::kTooLarge, "no memory"};
  const auto outcomes = scheduler.finished(*decision.batch, base::ok(), 0, 0, kNobodyLeft);
  ASSERT_THAT(ids(outcomes), ElementsAre(1, 2));
  EXPECT_EQ(outcomes[0].status.error().code, base::Code::kTooLarge);
  EXPECT_TRUE(outcomes[1].status);
  EXPECT_EQ(scheduler.queued_tokens(), 0U) << "its second text never runs";
}

TEST(Scheduler, TheBudgetFollowsMemory) {
  const Crowd crowd;
  Scheduler scheduler({.batch_tokens_max = 100});
  scheduler.set_batch_tokens(20);
  ASSERT_FALSE(scheduler.add(crowd.request(1, {10, 10, 10, 50})));
  EXPECT_EQ(scheduler.next(0, kNobodyLeft).batch->tokens, 20U);
}

TEST(Scheduler, ALatencyTargetBoundsWhatABatchMayTake) {
  const Crowd crowd;
  Scheduler scheduler({.batch_tokens_max = 1000}, {{.name = "chat", .latency_target = 2010}});
  std::uint64_t id = 0;
  for (std::uint32_t tokens = 10; tokens <= 200; tokens += 10) {  // 10 ns a token
    ASSERT_FALSE(scheduler.add(crowd.request(++id, {tokens})));
    const Decision decision = scheduler.next(0, kNobodyLeft);
    (void)scheduler.finished(*decision.batch, base::ok(), tokens * 10, 0, kNobodyLeft);
  }
  for (int i = 0; i < 50; ++i) ASSERT_FALSE(scheduler.add(crowd.request(++id, {10})));
  EXPECT_EQ(scheduler.next(0, kNobodyLeft).batch->tokens, 100U) << "half of the target";
}

TEST(Scheduler, EverythingCanBeTakenOut) {
  const Crowd crowd;
  Scheduler scheduler({.batch_tokens_max = 20});
  ASSERT_FALSE(scheduler.add(twin(crowd, 1, 1)));
  ASSERT_FALSE(scheduler.add(twin(crowd, 2, 1)));
  ASSERT_FALSE(scheduler.add(crowd.request(3, {10})));
  EXPECT_THAT(run_next(scheduler), ElementsAre(3)) << "and a text of the others";
  EXPECT_EQ(scheduler.take_all().size(), 2U);
  EXPECT_EQ(scheduler.held_requests(), 0U);
  EXPECT_EQ(scheduler.queued_requests(), 0U);
  EXPECT_EQ(scheduler.queued_tokens(), 0U);
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
        if (!may_wait && decision.wake_at != base::kNever) now = std::max(now, decision.wake_at);
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
      for (const std::uint64_t id : run(scheduler, decision, now)) ended.insert(id);
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
        if (refused) ended.insert(refused.request->generation);
      } else {
        step(true);
      }
      ASSERT_LE(scheduler.queued_requests(), limits.queue_requests_max);
    }
    for (int i = 0; i < 1000 && scheduler.held_requests() > 0; ++i) step(false);
    EXPECT_EQ(scheduler.queued_requests(), 0U);
    EXPECT_EQ(scheduler.queued_tokens(), 0U);
    EXPECT_EQ(scheduler.held_requests(), 0U);
    ASSERT_EQ(ended.size(), sent);
    for (std::uint64_t id = 1; id <= sent; ++id) ASSERT_EQ(ended.count(id), 1U) << id;
  }
}

}  // namespace
}  // namespace nacelle::sidecar
