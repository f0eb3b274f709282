// What clients may do with requests under way: give them up at any moment, poison some of their
// texts, ask for more than there is room for.
#include "sidecar/intake.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "shm/stream.h"
#include "tests/sidecar/pipeline_fixture.h"

namespace nacelle::sidecar {
namespace {

using base::Code;
using ::testing::HasSubstr;

class IntakeTest : public PipelineTest {};

TEST_F(IntakeTest, TenThousandTextsInOneCallOfWhichThreeArePoisoned) {
  start();
  const auto client = connect();
  std::vector<std::string> texts(10'000);
  for (std::size_t i = 0; i < texts.size(); ++i) texts[i] = "글 " + std::to_string(i % 100);
  const std::size_t poisoned[] = {17, 4711, 9999};
  for (const std::size_t i : poisoned) texts[i] = "bad \xff text";
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  const auto rows = client->embed("sentiment", views);
  ASSERT_TRUE(rows) << rows.error().message;
  EXPECT_EQ(rows->report.items_failed, 3U);
  for (const std::size_t i : poisoned) {
    EXPECT_EQ(rows->items[i].code, static_cast<std::uint16_t>(Code::kInvalid)) << i;
    EXPECT_EQ(rows->items[i].detail, 4U) << i;
  }
  // In order: text i has the row of text i % 100, which is nobody else's.
  for (std::size_t i = 100; i < texts.size(); ++i) {
    if (rows->items[i].code != 0) continue;
    const std::size_t like = i % 100 == 17 ? 117 : i % 100;
    ASSERT_TRUE(std::ranges::equal(rows->row(i), rows->row(like))) << i;
    ASSERT_FALSE(std::ranges::equal(rows->row(i), rows->row(i % 100 == 0 ? 1 : 0))) << i;
  }
}

// NACELLE_TEST_CALLS for more.
TEST_F(IntakeTest, RequestsGivenUpAtAnyMomentLeaveEverySlotUsable) {
  config_.transport.slots = 8;
  config_.scheduler.queue_requests_max = 65'536;
  start();
  const char* more = std::getenv("NACELLE_TEST_CALLS");
  const int calls = more != nullptr ? std::atoi(more) : 100'000;
  constexpr int kThreads = 4;
  const auto link = raw();
  const std::string text = text_list({std::string(kGood)});
  std::atomic<int> given_up{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(static_cast<unsigned>(t));  // the seed
      for (int i = 0; i < calls / kThreads;) {
        const bool embeds = random() % 4 == 0;
        const auto ticket = send(
            *link, {.op = embeds ? shm::Op::kEmbed : shm::Op::kPing, .items = embeds ? 1U : 0U},
            text);
        if (!ticket) {  // all slots are given up and not yet answered
          if (ticket.error().code != Code::kBusy) ADD_FAILURE() << ticket.error().message;
          std::this_thread::yield();
          continue;
        }
        ++i;
        for (auto spins = random() % 2000; spins > 0; --spins) shm::spin_pause();
        if (random() % 8 != 0) {
          link->cancel(*ticket);
          given_up.fetch_add(1);
          continue;
        }
        const auto answer = link->wait(*ticket);
        if (!answer || answer->fields.code != Code::kOk) {
          ADD_FAILURE() << "not answered";
          return;
        }
        EXPECT_TRUE(embeds || answer->payload.size() == text.size());
        link->finish(*ticket);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(given_up.load(), calls / 2);
  // Every slot comes back, and all of them at once.
  std::vector<shm::Ticket> all;
  while (all.size() < config_.transport.slots) {
    const auto ticket = send(*link, {.op = shm::Op::kPing}, text);
    if (ticket) {
      all.push_back(*ticket);
    } else {
      ASSERT_EQ(ticket.error().code, Code::kBusy);
      std::this_thread::yield();
    }
  }
  for (const shm::Ticket& ticket : all) {
    ASSERT_TRUE(link->wait(ticket));
    link->finish(ticket);
  }
  EXPECT_EQ(link->rescued_by_timeout(), 0U);
}

TEST_F(IntakeTest, AFullConnectionIsBusyAtOnceNamesTheLimitAndSaysWhenToTryAgain) {
  config_.transport.slots = 1;
  start();
  const auto client = connect();
  const auto info = client->describe("sentiment");
  ASSERT_TRUE(info);
  const auto stream = client->ping_stream(1'000'000, 8);  // takes the slot
  ASSERT_TRUE(stream);
  const std::string_view text = kGood;
  std::vector<float> row((*info)->embed_width);
  CallReport report;
  const auto refused = client->run(shm::Op::kEmbed, "sentiment", {&text, 1}, row, {}, {}, &report);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kBusy);
  EXPECT_THAT(refused.error().message, HasSubstr("transport.slots"));
  EXPECT_GT(report.retry_after_us, 0U);
}

}  // namespace
}  // namespace nacelle::sidecar
