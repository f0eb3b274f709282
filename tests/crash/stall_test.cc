// A3: clients that stand still in the middle of a call, or never give a reply back. It is their
// loss alone.
#include <gtest/gtest.h>

#include <unistd.h>

#include <atomic>
#include <ctime>
#include <iostream>
#include <optional>
#include <sstream>

#include "sidecar/base/bytes.h"
#include "tests/crash/crowd.h"
#include "tests/crash/trials.h"

namespace nacelle::crash {
namespace {

constexpr std::size_t kStalled = 0;  // the client that stands still; the others are served
constexpr std::size_t kThreads = 4;
constexpr std::uint64_t kAnswers = 50;  // of each thread, while the stalled client stands still
constexpr std::uint64_t kSlots = 64;    // of a connection, as configured by default

class StallTest : public ::testing::Test {
 protected:
  void start(std::uint64_t seed) {
    sidecar_.start();
    crowd_.emplace(sidecar_,
                   std::vector<Load>(3, {.embed_percent = 10, .think_max = base::kMillisecond}),
                   kThreads, seed);
    crowd_->start_all();
    ASSERT_TRUE(wait_for_others(1));
  }
  // Until each thread but the stalled client's has this many answers more.
  bool wait_for_others(std::uint64_t answers) {
    return eventually([&] {
      crowd_->ledger().audit_all();
      return crowd_->progressed(1, answers) && crowd_->progressed(2, answers);
    });
  }
  void expect_all_well() {
    EXPECT_TRUE(crowd_->stop_all());
    EXPECT_TRUE(sidecar_.quiet(0));
    const Audit& audit = crowd_->ledger().total();
    EXPECT_EQ(audit.faults(), 0U) << audit;
    EXPECT_EQ(audit.submitted, audit.answered) << audit;
    EXPECT_EQ(sidecar_.complaints(), "");
  }

  Sidecar sidecar_;
  std::optional<Crowd> crowd_;
};

TEST_F(StallTest, AClientThatStandsStillHoldsNobodyUp) {
  Trials trials("A3", 20);
  start(trials.seed());
  Latencies moving;
  Latencies stalled;
  for (std::uint64_t trial = 0; trial < trials.count(); ++trial) {
    crowd_->mark_progress();
    ASSERT_TRUE(wait_for_others(kAnswers));
    moving.add(crowd_->ledger().take().latencies);
    const timespec moment{0, static_cast<long>(trials.below(base::kMillisecond))};
    ::nanosleep(&moment, nullptr);

    crowd_->process(kStalled).stop();
    crowd_->ledger().audit_all();
    crowd_->ledger().take();
    crowd_->mark_progress();
    ASSERT_TRUE(wait_for_others(kAnswers)) << "somebody waits while another client stands still";
    stalled.add(crowd_->ledger().take().latencies);
    for (const auto& client : sidecar_.status().clients) {
      EXPECT_LE(client.in_flight, kThreads) << client.name;
    }
    EXPECT_EQ(sidecar_.footprint().regions, 2 * crowd_->size()) << "it keeps its two regions";
    crowd_->process(kStalled).go_on();
    ASSERT_TRUE(eventually([&] { return crowd_->progressed(kStalled); })) << "and is served again";
    trials.ran();
  }
  expect_all_well();
  std::ostringstream notes;
  notes << "others p99 while it stands still / before: "
        << static_cast<double>(stalled.quantile(0.99)) / static_cast<double>(moving.quantile(0.99))
        << " (" << stalled.text() << " / " << moving.text() << ")";
  std::cout << notes.str() << "\n";
  trials.report(HasFailure() ? 1 : 0, notes.str());
}

// It asks small questions with large answers and gives none back: the room for its replies is used
// up, then its slots, and it is told so.
TEST_F(StallTest, AReaderThatGivesNoReplyBackGetsNoMoreThanItsShare) {
  Trials trials("A3", 1);
  start(trials.seed());
  struct Told {
    std::atomic<std::uint32_t> answered;
    std::atomic<std::uint32_t> busy;          // by the sidecar
    std::atomic<std::uint32_t> out_of_slots;  // by its own library
    std::atomic<std::uint32_t> other;
  };
  Told& told = shared<Told>();
  constexpr std::uint32_t kItems = 256;  // their rows take more than 1 in 32 of the reply arena
  std::string list;
  for (std::uint32_t item = 0; item < kItems; ++item) list.append("\x01\0\0\0", 4);
  list.append(kItems, 't');
  Process reader = Process::fork([&] {
    const auto link = open_link(sidecar_.socket(), "reader");
    if (!link) return 1;
    for (std::uint64_t call = 0; call < 2 * kSlots; ++call) {
      const auto ticket = (*link)->submit(
          {.op = shm::Op::kEmbed, .items = kItems}, static_cast<std::uint32_t>(list.size()),
          base::now_ns() + 60 * base::kSecond, [&](std::span<std::byte> out) {
            base::copy_bytes(out.data(), list.data(), list.size());
          });
      if (!ticket) {
        (ticket.error().code == base::Code::kBusy ? told.out_of_slots : told.other).fetch_add(1);
        continue;
      }
      const auto answer = (*link)->wait(*ticket);
      const base::Code code = answer ? answer->fields.code : answer.error().code;
      (code == base::Code::kOk     ? told.answered
       : code == base::Code::kBusy ? told.busy
                                   : told.other)
          .fetch_add(1);
    }
    for (;;) ::pause();
  });
  ASSERT_TRUE(eventually([&] {
    crowd_->ledger().audit_all();
    return told.answered + told.busy + told.out_of_slots + told.other == 2 * kSlots;
  })) << told.answered
      << " answered, " << told.busy << " busy";
  EXPECT_EQ(told.other, 0U);
  EXPECT_GT(told.answered, 0U);
  EXPECT_LT(told.answered, 32U) << "no more than its arena holds";
  EXPECT_EQ(told.answered + told.busy, kSlots) << "each slot once, since none is given back";
  crowd_->mark_progress();
  EXPECT_TRUE(wait_for_others(kAnswers));
  EXPECT_TRUE(crowd_->progressed(kStalled)) << "nobody stands still here";
  reader.kill();
  trials.ran();
  expect_all_well();
  trials.report(HasFailure() ? 1 : 0, std::to_string(told.answered) + " answered, " +
                                          std::to_string(told.busy) + " busy, " +
                                          std::to_string(told.out_of_slots) + " out of slots");
}

}  // namespace
}  // namespace nacelle::crash
