// Stage times without gaps, and device time charged to those who used it, with made-up clocks.
#include "sidecar/observe.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <ctime>
#include <memory>
#include <random>
#include <vector>

#include "sidecar/trace.h"

namespace nacelle::sidecar {
namespace {

struct Bench {
  Counters counters;
  std::unique_ptr<ServiceCounters> service = std::make_unique<ServiceCounters>();
  std::vector<std::shared_ptr<ClientState>> clients;

  explicit Bench(std::size_t count) {
    counters.batch_tokens_max.set(100);
    for (std::size_t i = 0; i < count; ++i) {
      clients.push_back(std::make_shared<ClientState>());
      clients.back()->account = counters.accounts.open("client-" + std::to_string(i), 0);
    }
  }
  std::unique_ptr<Request> request(std::size_t client, std::vector<std::uint32_t> offsets) {
    auto made = std::make_unique<Request>();
    made->client = clients[client];
    made->offsets = std::move(offsets);
    made->texts = made->windows();
    made->times.take(1000, 40);
    made->times.pass(Stage::kTokenize, 1100);
    return made;
  }
  std::uint64_t charged() const {
    std::uint64_t all = 0;
    counters.accounts.for_each([&all](const Account& one) { all += one.compute_ns.get(); });
    return all;
  }
};

Batch batch_of(std::vector<Slice> slices, BatchTimes times) {
  Batch batch;
  for (const Slice& slice : slices) {
    batch.tokens +=
        slice.request->offsets[slice.first + slice.count] - slice.request->offsets[slice.first];
    batch.texts += slice.count;
  }
  batch.slices = std::move(slices);
  batch.times = times;
  return batch;
}

TEST(Observe, ARequestsStagesSumToItsWholeTime) {
  Bench bench(1);
  const auto request = bench.request(0, {0, 5, 9});
  Batch first = batch_of({{request.get(), 0, 1}}, {1500, 1520, 1900, 1950});
  observe_batch(first, bench.counters, *bench.service);
  Batch second = batch_of({{request.get(), 1, 1}}, {2950, 2960, 3000, 3010});
  observe_batch(second, bench.counters, *bench.service);
  observe_reply(*request, base::ok(), 3020, 3100, bench.counters, *bench.service);
  const StageTimes& times = request->times;
  EXPECT_EQ(times.of(Stage::kTokenize), 100);
  EXPECT_EQ(times.of(Stage::kBatchWait), 400 + 1000) << "before the first batch, and between";
  EXPECT_EQ(times.of(Stage::kCompute), 380 + 40);
  EXPECT_EQ(times.of(Stage::kCopy), 20 + 50 + 10 + 10);
  EXPECT_EQ(times.of(Stage::kReply), 90);
  EXPECT_EQ(times.sum(), 3100 - 1000);
  EXPECT_EQ(bench.service->total.snapshot().sum, 2100U);
  EXPECT_EQ(bench.service->ring.snapshot().sum, 40U);
}

TEST(Observe, WhoWasAnsweredWithAnothersRowsWaitedForTheirComputing) {
  Bench bench(1);
  const auto leader = bench.request(0, {0, 5});
  Batch batch = batch_of({{leader.get(), 0, 1}}, {1500, 1520, 1900, 1950});
  observe_batch(batch, bench.counters, *bench.service);
  const auto early = bench.request(0, {0, 5});
  early->times.follow(leader->times);
  EXPECT_EQ(early->times.of(Stage::kBatchWait), 400);
  EXPECT_EQ(early->times.of(Stage::kCompute), 380);
  EXPECT_EQ(early->times.of(Stage::kCopy), 70);
  EXPECT_EQ(early->times.sum(), 1950 - 1000);
  EXPECT_EQ(early->times.last_batch, leader->times.last_batch);

  const auto late = bench.request(0, {0, 5});
  late->times.mark = 1700;  // it came when half was done
  late->times.follow(leader->times);
  EXPECT_EQ(late->times.of(Stage::kBatchWait), 0);
  EXPECT_EQ(late->times.of(Stage::kCompute) + late->times.of(Stage::kCopy), 1950 - 1700);
}

TEST(Observe, WhoNeverRanWaited) {
  Bench bench(1);
  const auto request = bench.request(0, {0, 5});
  observe_reply(*request, base::Error{base::Code::kDeadlineExceeded, ""}, 9000, 9010,
                bench.counters, *bench.service);
  EXPECT_EQ(request->times.of(Stage::kBatchWait), 9000 - 1100);
  EXPECT_EQ(request->times.of(Stage::kCompute), 0);
  EXPECT_EQ(request->times.sum(), 9010 - 1000);
  EXPECT_EQ(bench.service->ended[static_cast<int>(base::Code::kDeadlineExceeded)].get(), 1U);
  EXPECT_EQ(bench.clients[0]->account->errors.get(), 1U);
}

TEST(Observe, ABatchIsChargedByTokensToTheLastNanosecond) {
  Bench bench(3);
  const auto a = bench.request(0, {0, 10});
  const auto b = bench.request(1, {0, 20, 30});
  const auto c = bench.request(2, {0, 60});
  Batch batch =
      batch_of({{a.get(), 0, 1}, {b.get(), 0, 2}, {c.get(), 0, 1}}, {2000, 2100, 2900, 3001});
  observe_batch(batch, bench.counters, *bench.service);
  EXPECT_EQ(bench.clients[0]->account->compute_ns.get(), 100U);
  EXPECT_EQ(bench.clients[1]->account->compute_ns.get(), 300U);
  EXPECT_EQ(bench.clients[2]->account->compute_ns.get(), 601U);
  EXPECT_EQ(bench.counters.busy_ns.get(), 1001U);
  EXPECT_EQ(bench.clients[2]->account->tokens.get(), 60U);
  EXPECT_EQ(bench.service->batch_fill.snapshot().sum, 100U) << "percent";
}

// 1,000 batches of random requests: clients' shares sum to the device's time, exactly.
TEST(Observe, AllClientsTogetherUsedTheDeviceForAsLongAsItWasBusy) {
  constexpr unsigned kSeed = 11;
  std::mt19937 random(kSeed);
  Bench bench(5);
  base::Nanos now = 10'000;
  for (int i = 0; i < 1000; ++i) {
    std::vector<std::unique_ptr<Request>> requests;
    std::vector<Slice> slices;
    for (std::uint32_t n = 0; n < 1 + random() % 7; ++n) {
      requests.push_back(
          bench.request(random() % 5, {0, 1 + static_cast<std::uint32_t>(random() % 500)}));
      slices.push_back({requests.back().get(), 0, 1});
    }
    Batch batch = batch_of(std::move(slices), {now, now + 7, now + 1'000'003, now + 1'000'100});
    now += 1'000'000 + static_cast<base::Nanos>(random() % 1'000'000);
    observe_batch(batch, bench.counters, *bench.service);
  }
  EXPECT_EQ(bench.charged(), bench.counters.busy_ns.get()) << "seed " << kSeed;
}

// What recording costs, for docs/decisions, in processor time: others on the machine do not count.
// The bound is one that only a lock, an allocation or a system call would break.
TEST(Observe, RecordingARequestTakesLessThanTenMicroseconds) {
  const auto processor_ns = [] {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
  };
  Trace trace;
  Bench bench(1);
  bench.counters.trace = &trace;
  constexpr int kTimes = 20'000;
  const auto request = bench.request(0, {0, 5});
  Batch batch = batch_of({{request.get(), 0, 1}}, {1500, 1520, 1900, 1950});
  const double start = processor_ns();
  for (int i = 0; i < kTimes; ++i) {
    request->times.take(1000 + i, 40);
    request->times.pass(Stage::kTokenize, 1100 + i);
    observe_batch(batch, bench.counters, *bench.service);
    observe_reply(*request, base::ok(), 2000 + i, 2100 + i, bench.counters, *bench.service);
  }
  const double each = (processor_ns() - start) / kTimes;
  std::printf("%.0f ns to record a request that has a batch alone\n", each);
  EXPECT_LT(each, 10'000);
}

}  // namespace
}  // namespace nacelle::sidecar
