// The last requests and their batches, however many came before.
#include "sidecar/trace.h"

#include <gtest/gtest.h>

#include <memory>

namespace nacelle::sidecar {
namespace {

Request request_in(std::uint64_t batch, base::Nanos taken) {
  Request request;
  request.client = std::make_shared<ClientState>();
  request.offsets = {0, 7};
  request.texts = 1;
  request.times.take(taken, 5);
  request.times.first_batch = request.times.last_batch = batch;
  return request;
}

TEST(Trace, KeepsTheLastRequestsAndTheirBatches) {
  Trace trace;
  EXPECT_TRUE(trace.copy(100).requests.empty());
  std::uint64_t batch = 0;
  for (base::Nanos i = 1; i <= 5000; ++i) {
    if (i % 10 == 1) {
      Batch done;
      done.texts = 10;
      done.times.begin = i;
      batch = trace.add(done);
    }
    trace.add(request_in(batch, i), base::Code::kOk, i + 100);
  }
  const Trace::Copy all = trace.copy(UINT64_MAX);
  ASSERT_EQ(all.requests.size(), Trace::kRequests);
  EXPECT_EQ(all.requests.front().number, 5000 - Trace::kRequests + 1);
  EXPECT_EQ(all.requests.back().number, 5000U);
  EXPECT_EQ(all.requests.back().taken, 5000);
  EXPECT_EQ(all.requests.back().tokens, 7U);
  const Trace::Copy some = trace.copy(25);
  ASSERT_EQ(some.requests.size(), 25U);
  ASSERT_EQ(some.batches.size(), 3U) << "the one that the first five were in, too";
  EXPECT_EQ(some.batches.front().number, some.requests.front().first_batch);
  EXPECT_EQ(some.batches.back().number, batch);
}

TEST(Trace, ARequestThatRanInNoBatchIsThere) {
  Trace trace;
  trace.add(request_in(0, 10), base::Code::kDeadlineExceeded, 20);
  const Trace::Copy copy = trace.copy(10);
  ASSERT_EQ(copy.requests.size(), 1U);
  EXPECT_EQ(copy.requests[0].code, base::Code::kDeadlineExceeded);
  EXPECT_TRUE(copy.batches.empty());
}

}  // namespace
}  // namespace nacelle::sidecar
