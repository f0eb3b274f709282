// B1: the process that writes a journal is killed, at every system call and at random times. All
// that was accepted is there afterwards, and nothing that is wrong.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include <ctime>
#include <filesystem>

#include "sidecar/base/log.h"
#include "tests/crash/journal_writer.h"
#include "tests/crash/stepper.h"
#include "tests/crash/trials.h"
#include "tests/support/temp_dir.h"

namespace nacelle::crash {
namespace {

constexpr cache::Durability kDurabilities[] = {
    cache::Durability::kNone, cache::Durability::kInterval, cache::Durability::kAlways};

class JournalKillTest : public ::testing::Test {
 protected:
  void SetUp() override { base::set_log_level(base::LogLevel::kError); }
  void TearDown() override { base::set_log_level(base::LogLevel::kInfo); }

  cache::WorkloadOptions fresh(cache::Durability durability, std::uint64_t seed, int steps) {
    std::filesystem::remove_all(dir_ / "cache");
    return {.durability = durability,
            .seed = seed,
            .steps = steps,
            .carries = seed % 2 == 0,
            .directory = dir_ / "cache",
            .bytes_max = 64 << 10};
  }

  testing::TempDir dir_;
};

// The last step that was begun may not be done.
std::uint64_t taken_by(const JournalSteps& steps) {
  return steps.begun - (steps.over || steps.begun == 0 ? 0U : 1U);
}

// Runs a traced child to its `nth` stop at a system call: before and after each. True when it got
// there; it stands there then.
bool to_system_call(pid_t pid, std::uint64_t nth) {
  int status = 0;
  if (::waitpid(pid, &status, __WALL) != pid || !WIFSTOPPED(status)) return false;
  for (std::uint64_t i = 0; i < nth; ++i) {
    if (::ptrace(PTRACE_SYSCALL, pid, nullptr, nullptr) != 0) return false;
    if (::waitpid(pid, &status, __WALL) != pid || !WIFSTOPPED(status)) return false;
  }
  return true;
}

TEST_F(JournalKillTest, KilledAtEverySystemCallItLosesNothingThatWasAccepted) {
  Trials trials("B1", 0);
  {
    Process probe = Process::fork([] { return let_parent_trace() ? 0 : 1; });
    if (probe.wait() != 0) GTEST_SKIP() << "no ptrace of one's own children here";
  }
  auto& steps = shared<JournalSteps>();
  for (const cache::Durability durability : kDurabilities) {
    const std::uint64_t stride = from_environment("CAMPAIGN_STRIDE", kFewer > 1 ? 31 : 4);
    bool there = true;
    std::uint64_t nth = 1 + trials.below(stride);
    for (; there; nth += stride) {
      const cache::WorkloadOptions options = fresh(durability, trials.seed() + 3, 35);
      steps.begun = 0;
      steps.over = false;
      Process writer = Process::fork([&] {
        if (!let_parent_trace()) return 4;
        ::raise(SIGSTOP);
        return write_journal(options, steps);
      });
      there = to_system_call(writer.pid(), nth);
      if (there) {
        writer.kill();
      } else {
        ASSERT_TRUE(steps.over) << "it came to another end than its own";
      }
      ASSERT_EQ(judge_journal(options, taken_by(steps), steps.begun, After::kKill), "")
          << "seed " << options.seed << ", stop " << nth << ", step " << steps.begun;
      trials.ran();
    }
    EXPECT_GT(nth, 150U) << "the run is too short to say anything";
    std::printf("B1 %s: %llu stops, each %lluth\n", cache::name_of(durability).c_str(),
                static_cast<unsigned long long>(nth), static_cast<unsigned long long>(stride));
  }
  trials.report(0, "before and after every system call");
}

TEST_F(JournalKillTest, KilledAtARandomTimeItLosesNothingThatWasAccepted) {
  Trials trials("B1", 100 / kFewer + 6);
  auto& steps = shared<JournalSteps>();
  std::uint64_t killed = 0;
  for (std::uint64_t trial = 0; trial < trials.count(); ++trial) {
    const cache::WorkloadOptions options = fresh(kDurabilities[trial % 3], trials.random()(), 2000);
    steps.begun = 0;
    steps.over = false;
    Process writer = Process::fork([&] { return write_journal(options, steps); });
    ASSERT_TRUE(eventually([&] { return steps.begun > 0; }));
    const timespec moment{0, static_cast<long>(trials.below(20 * base::kMillisecond))};
    ::nanosleep(&moment, nullptr);
    writer.kill();
    if (!steps.over) ++killed;
    ASSERT_EQ(judge_journal(options, taken_by(steps), steps.begun, After::kKill), "")
        << "seed " << options.seed << ", step " << steps.begun;
    trials.ran();
  }
  EXPECT_GT(killed, trials.count() / 4) << "nearly all came to their end before";
  trials.report(0, std::to_string(killed) + " were killed before their end");
}

}  // namespace
}  // namespace nacelle::crash
