// Every request that a whole sidecar serves: where its time went, and who is charged for it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "tests/sidecar/pipeline_fixture.h"

namespace nacelle::sidecar {
namespace {

using ::testing::HasSubstr;

// The sum over a family's samples, with or without labels.
double sum_of(const std::string& page, const std::string& family) {
  double sum = 0;
  for (std::size_t at = 0; at < page.size();) {
    const std::size_t end = page.find('\n', at);
    const std::string line = page.substr(at, end - at);
    at = end + 1;
    if (line.starts_with(family + "{") || line.starts_with(family + " ")) {
      sum += std::stod(line.substr(line.rfind(' ') + 1));
    }
  }
  return sum;
}

class PipelineMetricsTest : public PipelineTest {
 protected:
  // Four clients at once, with lists of one text to more than a batch holds; some give up at once.
  // Returns how many calls there were.
  int serve_a_mixture() {
    std::atomic<int> calls{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        const auto client =
            Client::connect({.socket = config_.socket, .name = "client-" + std::to_string(t)});
        ASSERT_TRUE(client);
        for (int i = 0; i < 25; ++i, ++calls) {
          const std::size_t count = i % 5 == 0 ? 60 : 1 + static_cast<std::size_t>(i % 3);
          const std::vector<std::string_view> texts(count, t % 2 == 0 ? kGood : kBad);
          if (i % 7 == 3) {
            // May end well or not: that every outcome has its times is the point.
            static_cast<void>(
                (*client)->embed("sentiment", texts, {.timeout = std::chrono::milliseconds(1)}));
          } else {
            EXPECT_TRUE((*client)->embed("sentiment", texts));
          }
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    return calls.load();
  }
};

TEST_F(PipelineMetricsTest, EveryRequestsStagesSumToItsWholeTime) {
  config_.scheduler.batch_tokens_max = 256;  // sixty texts take several batches
  start();
  const base::Nanos begin = base::now_ns();
  const int calls = serve_a_mixture();
  pipeline_->drain(10 * base::kSecond);  // the last ones are recorded, too
  const base::Nanos end = base::now_ns();
  const control::TraceReport trace = pipeline_->trace(4096);
  // A call that is given up may leave before it was taken, or be tried again in parts.
  EXPECT_GE(trace.requests.size(), static_cast<std::size_t>(calls) * 3 / 4);
  ASSERT_EQ(trace.stages.size(), kStages);
  std::map<std::string, std::uint64_t> spent;
  bool several_batches = false;
  for (const control::TracedRequest& request : trace.requests) {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < kStages; ++i) {
      sum += request.stage_ns[i];
      spent[trace.stages[i]] += request.stage_ns[i];
    }
    const std::uint64_t total = request.replied_ns - request.taken_ns;
    EXPECT_GE(static_cast<double>(sum), 0.95 * static_cast<double>(total))
        << "request " << request.number << " (" << request.outcome << ")";
    EXPECT_LE(sum, total);
    EXPECT_GE(static_cast<base::Nanos>(request.taken_ns), begin);
    EXPECT_LE(static_cast<base::Nanos>(request.replied_ns), end);
    EXPECT_LE(request.taken_ns, request.tokenized_ns);
    EXPECT_LE(request.tokenized_ns, request.replied_ns);
    if (request.first_batch == 0) continue;
    EXPECT_LE(request.tokenized_ns, request.first_begin_ns);
    EXPECT_LT(request.first_begin_ns, request.last_end_ns);
    EXPECT_LE(request.last_end_ns, request.replied_ns);
    several_batches |= request.first_batch < request.last_batch;
  }
  EXPECT_TRUE(several_batches);
  for (const auto& [stage, time] : spent) EXPECT_GT(time, 0U) << stage;
  // The batches of the device follow each other.
  for (std::size_t i = 1; i < trace.batches.size(); ++i) {
    EXPECT_LE(trace.batches[i - 1].end_ns, trace.batches[i].begin_ns);
  }
}

TEST_F(PipelineMetricsTest, WhatClientsAreChargedIsWhatTheDeviceDid) {
  start();
  const std::string before = pipeline_->metrics();  // services count on from test to test
  const base::Nanos begin = base::now_ns();
  const int calls = serve_a_mixture();
  pipeline_->drain(10 * base::kSecond);
  const double wall = static_cast<double>(base::now_ns() - begin) / 1e9;
  const std::string page = pipeline_->metrics();
  const auto since = [&](const std::string& family) {
    return sum_of(page, family) - sum_of(before, family);
  };
  const double busy = since("nacelle_device_busy_seconds_total");
  const double charged = since("nacelle_client_compute_seconds_total");
  EXPECT_GT(busy, 0);
  EXPECT_LE(busy, wall);
  EXPECT_NEAR(charged, busy, 0.05 * busy);
  EXPECT_GE(since("nacelle_compute_seconds_total"), 0.5 * busy) << "most of it is the model";
  const double requests = since("nacelle_client_requests_total");
  EXPECT_EQ(requests, since("nacelle_taken_total"));
  EXPECT_EQ(requests, since("nacelle_requests_total"));
  EXPECT_EQ(requests, since("nacelle_requests_ended_total")) << "each ended once";
  EXPECT_GE(requests, calls * 0.75);
  EXPECT_EQ(since("nacelle_client_tokens_total"), since("nacelle_tokens_total"));
  const double stages = since("nacelle_stage_seconds_sum");
  const double total = since("nacelle_request_seconds_sum");
  EXPECT_GE(stages, 0.95 * total);
  EXPECT_NEAR(since("nacelle_client_stage_seconds_total"), stages, 0.001 * stages);
}

TEST_F(PipelineMetricsTest, RefusalsAreCountedByReasonAndService) {
  start();
  const std::string invalid =
      "nacelle_requests_ended_total{service=\"sentiment\",model=\"nsmc-bert-ko\","
      "outcome=\"invalid\"}";
  const double before = sum_of(pipeline_->metrics(), invalid);
  const auto link = raw();
  ask(*link, {.op = shm::Op::kEmbed, .items = 0}, "");
  ask(*link, {.op = shm::Op::kEmbed, .service = 9, .items = 1}, text_list({"x"}));
  pipeline_->drain(base::kSecond);
  const std::string page = pipeline_->metrics();
  EXPECT_THAT(page, HasSubstr("nacelle_refused_total{reason=\"invalid\"} 1\n"));
  EXPECT_THAT(page, HasSubstr("nacelle_refused_total{reason=\"not_found\"} 1\n"));
  EXPECT_EQ(sum_of(page, invalid), before + 1);
  EXPECT_THAT(page, HasSubstr("nacelle_serving 0\n"));
}

}  // namespace
}  // namespace nacelle::sidecar
