// Calls that do not wait: what an event loop does with them.
#include "shm/pending.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <cmath>
#include <deque>
#include <string>
#include <vector>

#include "tests/sidecar/pipeline_fixture.h"

namespace nacelle {
namespace {

using base::Code;
using sidecar::kBad;
using sidecar::kGood;
using ::testing::HasSubstr;

class PendingTest : public sidecar::PipelineTest {
 protected:
  // What an event loop does: waits for the descriptor, then advances.
  static base::Result<CallReport> finish(Pending& call) {
    for (;;) {
      auto report = call.advance();
      if (!report) return report.error();
      if (*report) return **report;
      pollfd entry{call.fd(), POLLIN, 0};
      CHECK(::poll(&entry, 1, 20'000) == 1);
    }
  }
};

TEST_F(PendingTest, AnswersLikeTheCallThatWaits) {
  start();
  const auto client = connect();
  const std::vector<std::string_view> texts = {kGood, kBad};
  const auto waited = client->embed("sentiment", texts);
  ASSERT_TRUE(waited);
  std::vector<float> rows(waited->values.size());
  std::vector<shm::ItemReport> items(2);
  auto call = client->start(shm::Op::kEmbed, "sentiment", texts, rows, items);
  ASSERT_TRUE(call) << call.error().message;
  const auto report = finish(**call);
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(rows, waited->values);
  EXPECT_EQ(items[1].tokens, waited->items[1].tokens);
  EXPECT_EQ((*call)->service().digest, (*client->describe("sentiment"))->digest);
}

TEST_F(PendingTest, ManyUnderWayAtOnceEachGetTheirOwn) {
  config_.transport.slots = 8;
  start();
  const auto client = connect();
  ASSERT_TRUE(client->describe("sentiment"));
  struct Call {
    std::string text;
    std::vector<float> rows;
    std::unique_ptr<Pending> pending;
  };
  std::deque<Call> calls;
  std::vector<std::vector<float>> right;
  for (int i = 0; i < 200; ++i) {
    const std::string text = "영화 " + std::to_string(i % 10);
    if (i < 10) {
      const std::string_view view = text;
      right.push_back(client->embed("sentiment", {&view, 1})->values);
    }
    calls.push_back({text, std::vector<float>(right[0].size()), nullptr});
  }
  std::size_t next = 0;
  std::size_t done = 0;
  while (done < calls.size()) {
    while (next < calls.size()) {
      Call& call = calls[next];
      auto pending = client->start(shm::Op::kEmbed, "sentiment", {call.text}, call.rows, {});
      ASSERT_TRUE(pending);
      call.pending = *std::move(pending);
      const auto state = call.pending->advance();
      if (!state) {  // all slots are taken: later
        ASSERT_EQ(state.error().code, Code::kBusy) << state.error().message;
        call.pending.reset();
        break;
      }
      ++next;
      if (*state) {
        ++done;
        call.pending.reset();
      }
    }
    if (done == calls.size()) break;
    for (Call& call : calls) {
      if (!call.pending) continue;
      const auto state = call.pending->advance();
      ASSERT_TRUE(state) << state.error().message;
      if (!*state) continue;
      ++done;
      call.pending.reset();
    }
    for (Call& call : calls) {
      if (!call.pending) continue;
      pollfd entry{call.pending->fd(), POLLIN, 0};
      ASSERT_EQ(::poll(&entry, 1, 20'000), 1) << "no byte came for a call under way";
      break;
    }
  }
  for (std::size_t i = 0; i < calls.size(); ++i) EXPECT_EQ(calls[i].rows, right[i % 10]) << i;
}

// A byte on the descriptor is read once, and does not say which call it is for.
TEST_F(PendingTest, AByteStaysUntilEveryCallHasLookedAfterIt) {
  config_.limits.items_max = 500;  // lists of ten requests, two of them under way
  config_.transport.request_arena_bytes = 16U << 20;
  config_.transport.reply_arena_bytes = 16U << 20;
  start();
  const auto client = connect();
  const auto info = client->describe("sentiment");
  ASSERT_TRUE(info);
  const std::vector<std::string_view> texts(5000, kGood);
  std::vector<std::vector<float>> rows(2, std::vector<float>(5000 * (*info)->embed_width));
  const auto begin = [&](std::vector<float>& out) {
    auto call = client->start(shm::Op::kEmbed, "sentiment", texts, out, {});
    CHECK(call.has_value());
    return *std::move(call);
  };
  const auto readable = [](const Pending& call, int timeout_ms) {
    pollfd entry{call.fd(), POLLIN, 0};
    return ::poll(&entry, 1, timeout_ms) == 1;
  };
  const auto under_way = [](Pending& call) {
    const auto state = call.advance();
    if (!state) ADD_FAILURE() << state.error().message;
    return state && !*state;
  };
  const auto first = begin(rows[0]);
  ASSERT_TRUE(under_way(*first));
  ASSERT_TRUE(readable(*first, 20'000));

  // `first` has news. A call that begins now must not take them away,
  const auto second = begin(rows[1]);
  ASSERT_TRUE(under_way(*second));
  EXPECT_TRUE(readable(*first, 0));
  // nor, looking after `first` in a round, news that came after the look of `first`.
  ASSERT_TRUE(under_way(*first));
  ASSERT_TRUE(readable(*first, 20'000));
  ASSERT_TRUE(under_way(*second));
  EXPECT_TRUE(readable(*first, 0));
  // The next round does.
  ASSERT_TRUE(finish(*first));
  ASSERT_TRUE(finish(*second));
  EXPECT_EQ(rows[0], rows[1]);
}

TEST_F(PendingTest, ALongListNeedsSeveralRequestsAndOneDescriptor) {
  config_.transport.reply_arena_bytes = 64U << 10;
  start();
  const auto client = connect();
  const auto info = client->describe("sentiment");
  ASSERT_TRUE(info);
  const std::vector<std::string_view> texts(600, kGood);
  std::vector<float> rows(texts.size() * (*info)->embed_width);
  auto call = client->start(shm::Op::kEmbed, "sentiment", texts, rows, {});
  ASSERT_TRUE(call);
  ASSERT_TRUE(finish(**call));
  const std::vector<float> first(rows.begin(), rows.begin() + (*info)->embed_width);
  const std::vector<float> last(rows.end() - (*info)->embed_width, rows.end());
  EXPECT_EQ(first, last);
}

TEST_F(PendingTest, NeverConnectsAndNeverAsks) {
  start();
  const auto client = connect(std::chrono::milliseconds(1));
  std::vector<float> rows(1);
  EXPECT_EQ(client->start(shm::Op::kEmbed, "sentiment", {kGood}, rows, {}).error().code,
            Code::kNotFound);
  const auto info = client->describe("sentiment");
  ASSERT_TRUE(info);
  rows.resize((*info)->embed_width);
  auto call = client->start(shm::Op::kEmbed, "sentiment", {kGood}, rows, {});
  ASSERT_TRUE(call);
  pipeline_.reset();
  const auto report = finish(**call);
  // Answered before the end, or told of it.
  if (!report) {
    EXPECT_EQ(report.error().code, Code::kSidecarGone) << report.error().message;
  }
  call->reset();
  EXPECT_FALSE(client->ping({}));  // notices that nobody is there
  EXPECT_EQ(client->start(shm::Op::kEmbed, "sentiment", {kGood}, rows, {}).error().code,
            Code::kSidecarGone);
}

TEST_F(PendingTest, OneThatIsDestroyedGivesItsSlotBack) {
  config_.transport.slots = 2;
  start();
  const auto client = connect();
  const auto info = client->describe("sentiment");
  ASSERT_TRUE(info);
  std::vector<float> rows((*info)->embed_width);
  for (int i = 0; i < 20; ++i) {
    auto call = client->start(shm::Op::kEmbed, "sentiment", {kGood}, rows, {});
    ASSERT_TRUE(call);
    (void)(*call)->advance();
  }
  // A call that waits finds a slot once the sidecar has answered what was given up.
  const std::string_view text = kGood;
  for (;;) {
    const auto answer = client->embed("sentiment", {&text, 1});
    if (answer) break;
    ASSERT_EQ(answer.error().code, Code::kBusy);
  }
}

}  // namespace
}  // namespace nacelle
