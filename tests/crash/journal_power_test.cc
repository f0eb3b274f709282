// B2 and B3: the power of a real file system goes while a journal is written on it; B3 after any of
// its dirty pages have reached the disk. Nothing that was durable is lost, and nothing is wrong.
//
//   CAMPAIGN_TRIALS=n   CAMPAIGN_SEED=n
#include <fcntl.h>
#include <gtest/gtest.h>

#include <ctime>
#include <filesystem>

#include "sidecar/base/fd.h"
#include "sidecar/base/log.h"
#include "tests/crash/journal_writer.h"
#include "tests/crash/loop_disk.h"
#include "tests/crash/trials.h"
#include "tests/support/temp_dir.h"

namespace nacelle::crash {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kPage = 4096;

// Sends any of the pages of any of the files to the disk, now.
void write_some_pages(const std::string& directory, Trials& trials) {
  for (const auto& entry : fs::directory_iterator(directory)) {
    const base::Fd file(::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC));
    const std::uint64_t pages = entry.file_size() / kPage;
    const std::uint64_t one_in = 1 + trials.below(4);
    for (std::uint64_t page = 0; file && page < pages; ++page) {
      if (trials.below(one_in) != 0) continue;
      ::sync_file_range(
          file.get(), static_cast<off_t>(page * kPage), kPage,
          SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
    }
  }
}

// kNone, too: of that the cut must cost something, or it is none.
cache::Durability durability_of(std::uint64_t trial) {
  if (trial % 4 == 3) return cache::Durability::kInterval;
  return trial % 8 == 1 ? cache::Durability::kNone : cache::Durability::kAlways;
}

class JournalPowerTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { base::set_log_level(static_cast<base::LogLevel>(4)); }  // EIO is meant
  void TearDown() override { base::set_log_level(base::LogLevel::kInfo); }

  void run(const char* row, std::uint64_t count, bool some_pages) {
    Trials trials(row, count);
    const testing::TempDir folder;
    LoopDisk disk(folder.path(), GetParam());
    if (disk.skip()) GTEST_SKIP() << *disk.skip();
    auto& steps = shared<JournalSteps>();
    std::uint64_t durable = 0;
    std::uint64_t lost = 0;
    for (std::uint64_t trial = 0; trial < trials.count(); ++trial) {
      const cache::WorkloadOptions options{
          .durability = durability_of(trial),
          .seed = trials.random()(),
          .steps = 100'000,
          .carries = trial % 2 == 1,
          .directory = disk.path() + "/cache" + std::to_string(trial)};
      steps.begun = 0;
      Process writer = Process::fork([&] { return write_journal(options, steps); });
      ASSERT_TRUE(eventually([&] { return steps.begun > 1; }));
      const timespec moment{0, static_cast<long>(trials.below(60 * base::kMillisecond))};
      ::nanosleep(&moment, nullptr);
      if (some_pages) {
        writer.stop();
        write_some_pages(options.directory, trials);
      }
      // What returns after the power went was never said to anybody.
      const std::uint64_t taken = steps.begun - 1;
      ASSERT_TRUE(disk.cut_power());
      writer.kill();
      ASSERT_TRUE(disk.reboot());
      ASSERT_EQ(judge_journal(options, taken, steps.begun, After::kPowerCut), "")
          << "seed " << options.seed << ", step " << steps.begun;
      durable += taken;
      if (!judge_journal(options, taken, steps.begun, After::kKill).empty()) ++lost;
      fs::remove_all(options.directory);
      trials.ran();
    }
    EXPECT_GT(lost, trials.count() / 20) << "the cuts do not even cost what was not synced";
    trials.report(0, std::string(GetParam()) + ", " + std::to_string(durable) + " steps; " +
                         std::to_string(lost) + " cuts cost what was not synced");
  }
};

TEST_P(JournalPowerTest, APowerCutLosesNothingThatWasDurable) { run("B2", 50, false); }

TEST_P(JournalPowerTest, NorWhenAnyOfThePagesHadReachedTheDisk) { run("B3", 50, true); }

INSTANTIATE_TEST_SUITE_P(FileSystems, JournalPowerTest, ::testing::Values("ext4", "xfs"),
                         [](const auto& type) { return std::string(type.param); });

}  // namespace
}  // namespace nacelle::crash
