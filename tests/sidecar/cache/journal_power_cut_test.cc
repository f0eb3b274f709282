// B4: the power goes at any moment, and the disk keeps any part of what was not synced: nothing
// that comes back is wrong, and nothing that was acknowledged as durable is lost.
//
// The file system is one in memory (crash_files.h). At each call that the journal makes, some of
// the states that a power cut could leave there are opened and held against the ledger. Some of
// those lose their power, too, while they recover.
//
//   CAMPAIGN_TRIALS=n   states in all    CAMPAIGN_SEED=n
#include <gtest/gtest.h>

#include <string>

#include "sidecar/base/log.h"
#include "tests/crash/trials.h"
#include "tests/sidecar/cache/crash_files.h"
#include "tests/sidecar/cache/journal_workload.h"

namespace nacelle::cache {
namespace {

constexpr std::size_t kSectors[] = {512, 4096};
constexpr std::uint64_t kStates = 12'000 / crash::kFewer;
constexpr std::uint64_t kStatesPerCall = 8;
constexpr std::uint64_t kNested = 16;  // every so many states, one loses power while it recovers

class PowerCutTest : public ::testing::TestWithParam<Durability> {
 protected:
  void SetUp() override { base::set_log_level(base::LogLevel::kError); }
  void TearDown() override { base::set_log_level(base::LogLevel::kInfo); }
};

// Opens what a power cut left, and says what is wrong with it.
std::string judge(Files& files, const JournalOptions& options, const Ledger& ledger) {
  Recovered recovered;
  JournalOptions plain = options;
  plain.keep = {};
  const auto journal = Journal::open(files, plain, recovered.replay());
  if (!journal) return "it does not open: " + journal.error().message;
  if ((*journal)->stats().bytes > options.bytes_max) return "it is too large";
  return ledger.judge(recovered);
}

// The same, with the power cut once more at one of the calls that opening makes.
std::string judge_twice(const CrashFiles& left, const JournalOptions& options, const Ledger& ledger,
                        std::uint64_t seed, std::size_t sector) {
  const auto files = left.reopened(seed);
  std::mt19937_64 random(seed);
  std::unique_ptr<CrashFiles> again;
  const std::uint64_t at = random() % 60;
  files->set_hook([&](FileCall) {
    if (files->calls() == at) again = files->crash(random(), sector);
    return 0;
  });
  std::string fault = judge(*files, options, ledger);
  files->set_hook({});
  if (fault.empty() && again != nullptr) fault = judge(*again, options, ledger);
  return fault;
}

TEST_P(PowerCutTest, LosesNothingThatWasDurableAndServesNothingThatIsWrong) {
  crash::Trials trials("B4", kStates);
  std::uint64_t failures = 0;
  std::uint64_t states = 0;
  std::uint64_t acknowledged = 0;
  for (std::uint64_t run = 0; states < trials.count() && failures == 0; ++run) {
    const std::uint64_t seed = trials.seed() * 1'000'003 + run;
    Workload workload(
        {.durability = GetParam(), .seed = seed, .steps = 60, .carries = run % 2 == 1});
    const JournalOptions options = workload.journal_options();
    CrashFiles files(seed);
    std::mt19937_64 random(seed);
    const auto look = [&](FileCall) {
      if (failures > 0) return 0;
      EXPECT_LE(files.bytes(), options.bytes_max);
      for (std::uint64_t i = 0; i < kStatesPerCall / 2; ++i) {
        for (const std::size_t sector : kSectors) {
          const std::uint64_t state = random();
          const auto left = files.crash(state, sector);
          std::string fault;
          if (states % kNested == 0) {
            fault = judge_twice(*left, options, workload.ledger(), state, sector);
          } else {
            fault = judge(*left, options, workload.ledger());
          }
          ++states;
          trials.ran();
          if (fault.empty()) continue;
          ++failures;
          ADD_FAILURE() << "seed " << seed << ", call " << files.calls() << ", state " << state
                        << ", sectors of " << sector << ": " << fault;
          return 0;
        }
      }
      return 0;
    };
    Recovered nothing;
    {
      auto journal = Journal::open(files, options, nothing.replay());
      ASSERT_TRUE(journal.has_value());
      files.set_hook(look);
      workload.run(**journal);
      EXPECT_EQ(workload.refused(), 0U);
    }
    files.set_hook({});
    acknowledged += workload.acknowledged();
    if (failures == 0) {
      EXPECT_EQ(judge(*files.reopened(seed), options, workload.ledger()), "");
    }
  }
  EXPECT_GE(states, std::min(trials.count(), kStates));
  EXPECT_GT(acknowledged, 0U);
  trials.report(failures, std::to_string(acknowledged) + " durable acknowledgements");
}

INSTANTIATE_TEST_SUITE_P(Durabilities, PowerCutTest,
                         ::testing::Values(Durability::kNone, Durability::kInterval,
                                           Durability::kAlways),
                         [](const auto& durability) { return name_of(durability.param); });

// The test's own eyes: a journal that promises more than it keeps is found out.
TEST(PowerCut, ALieAboutDurabilityIsSeen) {
  Workload workload({.durability = Durability::kInterval, .seed = 5, .steps = 30});
  const JournalOptions options = workload.journal_options();
  CrashFiles files(5);
  std::mt19937_64 random(5);
  std::uint64_t seen = 0;
  Recovered nothing;
  auto journal = Journal::open(files, options, nothing.replay());
  ASSERT_TRUE(journal.has_value());
  for (int i = 0; i < 30; ++i) {
    const std::uint64_t number = workload.ledger().put(1);
    const Value value = value_of(1, number, 700);
    const Entry entry = entry_of(1, number, value);
    ASSERT_TRUE((*journal)->append({&entry, 1}).has_value());
    workload.ledger().all_durable();  // it is not
    const auto left = files.crash(random(), 512);
    if (!judge(*left, options, workload.ledger()).empty()) ++seen;
  }
  EXPECT_GT(seen, 10U);
}

}  // namespace
}  // namespace nacelle::cache
