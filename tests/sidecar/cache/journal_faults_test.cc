// B7: each call to the file system fails in turn, in each way it can. The caller's work goes on,
// what comes back is right, and what was acknowledged as durable is there after kill -9 and power
// cuts.
//
//   CAMPAIGN_TRIALS=n   seeds    CAMPAIGN_SEED=n
#include <gtest/gtest.h>

#include <cerrno>
#include <string>

#include "sidecar/base/file.h"
#include "sidecar/base/log.h"
#include "sidecar/cache/journal_format.h"
#include "tests/crash/trials.h"
#include "tests/sidecar/cache/crash_files.h"
#include "tests/sidecar/cache/journal_workload.h"

namespace nacelle::cache {
namespace {

constexpr std::uint64_t kCallsMax = 2000;

class Quiet {
 public:
  Quiet() { base::set_log_level(static_cast<base::LogLevel>(4)); }  // above every line's
  ~Quiet() { base::set_log_level(base::LogLevel::kInfo); }
  Quiet(const Quiet&) = delete;
  Quiet& operator=(const Quiet&) = delete;
};

struct Fault {
  int answer = 0;      // an errno's negative, or CrashFiles::kHalf
  bool stays = false;  // from then on each such call fails
};

// Whether a call can fail like that at all.
bool possible(FileCall call, int answer) {
  const bool makes_room = call == FileCall::kOpen || call == FileCall::kPwrite ||
                          call == FileCall::kAllocate || call == FileCall::kSync ||
                          call == FileCall::kSyncDirectory || call == FileCall::kRename;
  const bool interruptible = call == FileCall::kOpen || call == FileCall::kPread ||
                             call == FileCall::kPwrite || call == FileCall::kAllocate ||
                             call == FileCall::kSync || call == FileCall::kLock;
  if (answer == -EINTR) return interruptible;
  if (answer == CrashFiles::kHalf) return call == FileCall::kPread || call == FileCall::kPwrite;
  if (answer == -ENOSPC || answer == -EDQUOT) return makes_room;
  return call != FileCall::kLock;  // EIO: any
}

std::string recover_and_judge(Files& files, const JournalOptions& options, const Ledger& ledger) {
  Recovered recovered;
  JournalOptions plain = options;
  plain.keep = {};
  const auto journal = Journal::open(files, plain, recovered.replay());
  if (!journal) return "it does not open: " + journal.error().message;
  return ledger.judge(recovered);
}

// Tells the ledger what is in a segment that goes: on a full disk the journal does not ask.
void note_dropped(const CrashFiles& files, const JournalOptions& options, Ledger& ledger) {
  if (!files.unlinked().ends_with(kSegmentSuffix)) return;
  CrashFiles alone(1);
  alone.put(files.unlinked(), files.content(files.unlinked()));
  JournalOptions plain = options;
  plain.keep = {};
  const Replay replay{
      .put = [&](const Entry& entry) { ledger.dropped(ledger_key(entry), ledger_number(entry)); },
      .erase = [](const shm::CacheKey&) {},
      .purge = [](std::optional<std::uint32_t>) {}};
  EXPECT_TRUE(Journal::open(alone, plain, replay).has_value());
}

// One run with a fault at call `nth`; false when the run makes fewer calls.
bool run_with(std::uint64_t seed, Durability durability, const Fault& fault, std::uint64_t nth,
              std::uint64_t& trials) {
  const std::string where = "seed " + std::to_string(seed) + ", call " + std::to_string(nth) +
                            ", answer " + std::to_string(fault.answer) +
                            (fault.stays ? " from then on" : "");
  Workload workload(
      {.durability = durability, .seed = seed, .steps = 40, .carries = seed % 2 == 0});
  const JournalOptions options = workload.journal_options();
  CrashFiles files(seed);
  bool sync_failed = false;
  std::uint64_t injected = 0;
  files.set_hook([&](FileCall call) {
    if (call == FileCall::kUnlink) note_dropped(files, options, workload.ledger());
    const bool due = fault.stays ? files.calls() >= nth : files.calls() == nth;
    if (!due || !possible(call, fault.answer)) return 0;
    ++injected;
    const bool sync = call == FileCall::kSync || call == FileCall::kSyncDirectory;
    sync_failed = sync_failed || (sync && fault.answer != -EINTR);
    return fault.answer;
  });
  Recovered before;
  auto opened = Journal::open(files, options, before.replay());
  if (!opened) {
    // Its directory and lock it must have; all else is optional.
    EXPECT_EQ(opened.error().code, base::Code::kUnavailable) << where;
    EXPECT_LE(nth, 4U) << where << ": " << opened.error().message;
    return true;
  }
  std::uint64_t acknowledged_at_failure = 0;
  bool failed_before = false;
  workload.run(**opened, [&] {
    if (sync_failed && !failed_before) {
      failed_before = true;
      acknowledged_at_failure = workload.acknowledged();
    }
    return false;
  });
  const JournalStats stats = (*opened)->stats();
  if (failed_before) {
    EXPECT_EQ(workload.acknowledged(), acknowledged_at_failure)
        << where << ": durable after a failed sync";
    EXPECT_TRUE(stats.degraded) << where;
    EXPECT_NE(stats.reason, "") << where;
  }
  if (fault.answer == -EINTR || fault.answer == CrashFiles::kHalf) {
    if (!fault.stays || fault.answer == CrashFiles::kHalf) {
      EXPECT_EQ(workload.refused(), 0U) << where;
      EXPECT_FALSE(stats.degraded) << where;
    }
  }
  EXPECT_LE(files.bytes(), options.bytes_max) << where;
  const bool met = files.calls() >= nth;
  // kill -9; power cuts; and an end in good order.
  EXPECT_EQ(recover_and_judge(*files.reopened(seed), options, workload.ledger()), "") << where;
  for (std::uint64_t state = 0; state < 4; ++state) {
    const auto left = files.crash(seed * 31 + nth * 7 + state, state % 2 == 0 ? 512 : 4096);
    EXPECT_EQ(recover_and_judge(*left, options, workload.ledger()), "")
        << where << ", power cut " << state;
  }
  opened->reset();
  files.set_hook({});
  EXPECT_EQ(recover_and_judge(*files.reopened(seed), options, workload.ledger()), "") << where;
  if (injected > 0) ++trials;
  return met;
}

class FaultsTest : public ::testing::TestWithParam<Durability> {};

TEST_P(FaultsTest, AFaultAtAnyCallCostsPersistenceAtMost) {
  const Quiet quiet;
  crash::Trials trials("B7", 1);
  std::uint64_t faults = 0;
  for (std::uint64_t seed = trials.seed(); seed < trials.seed() + trials.count(); ++seed) {
    for (const int answer : {-ENOSPC, -EIO, -EDQUOT, -EINTR, CrashFiles::kHalf}) {
      for (const bool stays : {false, true}) {
        std::uint64_t nth = 1;
        while (run_with(seed, GetParam(), {answer, stays}, nth, faults) && !HasFailure()) {
          nth += crash::kFewer > 1 ? 7 : 1;
          ASSERT_LT(nth, kCallsMax);
        }
        ASSERT_GT(nth, 50U) << "the run is too short to say anything";
      }
    }
  }
  for (std::uint64_t i = 0; i < faults; ++i) trials.ran();
  EXPECT_GT(faults, 100U);
  trials.report(HasFailure() ? 1 : 0, "a fault at each call of a run");
}

INSTANTIATE_TEST_SUITE_P(Durabilities, FaultsTest,
                         ::testing::Values(Durability::kNone, Durability::kInterval,
                                           Durability::kAlways),
                         [](const auto& durability) { return name_of(durability.param); });

class DiskTest : public ::testing::Test {
 protected:
  bool put(Journal& journal, std::uint32_t key, std::size_t bytes = 1000) {
    const std::uint64_t number = ledger_.put(key);
    const Value value = value_of(key, number, bytes);
    const Entry entry = entry_of(key, number, value);
    return journal.append({&entry, 1}).has_value();
  }
  std::unique_ptr<Journal> open(Durability durability) {
    auto journal = Journal::open(files_,
                                 {.directory = "cache",
                                  .bytes_max = 96 << 10,
                                  .segment_bytes = 16 << 10,
                                  .durability = durability,
                                  .keep = {}},
                                 recovered_.replay());
    return journal ? std::move(*journal) : nullptr;
  }

  Quiet quiet_;
  CrashFiles files_{3};
  Ledger ledger_;
  Recovered recovered_;
};

TEST_F(DiskTest, AFullDiskIsTriedAgainAndWrittenOnceThereIsRoom) {
  const auto journal = open(Durability::kInterval);
  ASSERT_TRUE(put(*journal, 1));
  bool full = true;
  files_.set_hook([&](FileCall call) {
    return full && (call == FileCall::kPwrite || call == FileCall::kAllocate) ? -ENOSPC : 0;
  });
  EXPECT_FALSE(put(*journal, 2));
  EXPECT_TRUE(journal->stats().degraded);
  EXPECT_NE(journal->stats().reason.find("ENOSPC"), std::string::npos);
  const std::uint64_t calls = files_.calls();
  EXPECT_FALSE(put(*journal, 3));
  EXPECT_EQ(files_.calls(), calls) << "a full disk is not asked again for each entry";
  EXPECT_TRUE(journal->sync().has_value());
  EXPECT_FALSE(put(*journal, 4));
  full = false;
  EXPECT_FALSE(put(*journal, 5));
  EXPECT_TRUE(journal->sync().has_value());
  EXPECT_TRUE(put(*journal, 6));
  EXPECT_FALSE(journal->stats().degraded);
  EXPECT_EQ(journal->stats().lost, 4U);
  EXPECT_EQ(journal->stats().appended, 2U);
}

// The disk is smaller than the bound: then the journal lives in what there is.
TEST_F(DiskTest, ADiskSmallerThanTheBoundIsUsedAsFarAsItGoes) {
  const auto journal = open(Durability::kInterval);
  constexpr std::uint64_t kDisk = 50 << 10;
  files_.set_hook([&](FileCall call) {
    return call == FileCall::kAllocate && files_.bytes() + (16 << 10) > kDisk ? -ENOSPC : 0;
  });
  for (std::uint32_t key = 0; key < 500; ++key) ASSERT_TRUE(put(*journal, key)) << key;
  EXPECT_FALSE(journal->stats().degraded);
  EXPECT_EQ(journal->stats().appended, 500U);
  EXPECT_GT(journal->stats().dropped_segments, 20U);
}

TEST_F(DiskTest, AfterAFailedSyncNothingIsAcknowledgedAndAKillLosesNothingStill) {
  const auto journal = open(Durability::kAlways);
  ASSERT_TRUE(put(*journal, 1));
  bool fails = true;
  files_.set_hook([&](FileCall call) { return fails && call == FileCall::kSync ? -EIO : 0; });
  EXPECT_FALSE(put(*journal, 2));
  fails = false;  // the next one would say that all is well
  EXPECT_FALSE(put(*journal, 3));
  EXPECT_FALSE(journal->sync().has_value());
  const shm::CacheKey key = key_of(1);
  EXPECT_FALSE(journal->erase({&key, 1}).has_value());
  EXPECT_TRUE(journal->stats().degraded);
  const auto killed = files_.reopened(1);
  Recovered recovered;
  const auto next = Journal::open(
      *killed, {.directory = "cache", .bytes_max = 96 << 10, .segment_bytes = 16 << 10, .keep = {}},
      recovered.replay());
  ASSERT_TRUE(next.has_value());
  EXPECT_EQ(recovered.puts().size(), 2U) << "2 and 3; 1 was erased";
  EXPECT_FALSE((*next)->stats().degraded) << "a restart makes a new start";
}

TEST_F(DiskTest, ADirectoryThatCannotBeListedLeavesTheJournalOff) {
  files_.set_hook([](FileCall call) { return call == FileCall::kList ? -EIO : 0; });
  const auto journal = open(Durability::kAlways);
  ASSERT_NE(journal, nullptr);
  EXPECT_TRUE(journal->stats().degraded);
  EXPECT_FALSE(put(*journal, 1));
  EXPECT_FALSE(journal->purge().has_value());
  EXPECT_FALSE(journal->sync().has_value());
  EXPECT_EQ(files_.paths().size(), 1U) << "the lock alone";
}

TEST_F(DiskTest, ASegmentThatCannotBeReadNowIsKeptForLater) {
  for (int life = 0; life < 2; ++life) {
    const auto journal = open(Durability::kInterval);
    ASSERT_TRUE(put(*journal, static_cast<std::uint32_t>(life)));
  }
  std::uint64_t reads = 0;
  files_.set_hook(
      [&](FileCall call) { return call == FileCall::kPread && ++reads <= 1 ? -EIO : 0; });
  recovered_ = {};
  auto journal = open(Durability::kInterval);
  EXPECT_EQ(recovered_.puts().size(), 1U);
  journal.reset();
  files_.set_hook({});
  recovered_ = {};
  journal = open(Durability::kInterval);
  EXPECT_EQ(recovered_.puts().size(), 2U);
}

}  // namespace
}  // namespace nacelle::cache
