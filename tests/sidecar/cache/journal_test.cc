// What a journal is for, on this machine's files: entries come back, within their bounds.
#include "sidecar/cache/journal.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "sidecar/base/time.h"
#include "tests/sidecar/cache/journal_ledger.h"
#include "tests/support/temp_dir.h"

namespace nacelle::cache {
namespace {

namespace fs = std::filesystem;

class JournalTest : public ::testing::Test {
 protected:
  JournalOptions options() {
    return {.directory = dir_ / "cache",
            .bytes_max = 1 << 20,
            .segment_bytes = 64 << 10,
            .durability = Durability::kInterval,
            .keep = {}};
  }
  std::unique_ptr<Journal> open(const JournalOptions& options, Recovered& recovered) {
    auto journal = Journal::open(real_files(), options, recovered.replay());
    EXPECT_TRUE(journal.has_value()) << (journal ? "" : journal.error().message);
    return journal ? std::move(*journal) : nullptr;
  }
  // Puts `key`, with a value of `bytes`; its number.
  std::uint64_t put(Journal& journal, std::uint32_t key, std::size_t bytes = 1000) {
    const std::uint64_t number = ledger_.put(key);
    const Value value = value_of(key, number, bytes);
    const Entry entry = entry_of(key, number, value);
    EXPECT_TRUE(journal.append({&entry, 1}).has_value());
    return number;
  }
  // What comes back at the next start.
  Recovered reopened() {
    Recovered recovered;
    open(options(), recovered);
    EXPECT_EQ(recovered.fault(), "");
    return recovered;
  }
  // Sizes of all files together.
  std::uint64_t bytes_on_disk() {
    std::uint64_t sum = 0;
    for (const auto& file : fs::directory_iterator(dir_ / "cache")) sum += file.file_size();
    return sum;
  }
  std::vector<std::string> segments() {
    std::vector<std::string> names;
    for (const auto& file : fs::directory_iterator(dir_ / "cache")) {
      if (file.path().extension() == ".journal") names.push_back(file.path().string());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  testing::TempDir dir_;
  Ledger ledger_;
};

TEST_F(JournalTest, WhatWasAppendedComesBackByteForByte) {
  std::map<std::uint32_t, std::uint64_t> put_as;
  {
    Recovered nothing;
    const auto journal = open(options(), nothing);
    EXPECT_EQ(nothing.entries(), 0U);
    for (std::uint32_t key = 0; key < 40; ++key) put_as[key] = put(*journal, key, key * 97);
    EXPECT_EQ(journal->stats().appended, 40U);
  }
  const Recovered recovered = reopened();
  EXPECT_EQ(recovered.puts(), put_as);
  EXPECT_EQ(recovered.entries(), 40U);
}

// More than a start reads by itself: then a second thread reads ahead.
TEST_F(JournalTest, MuchComesBackInTheOrderInWhichItWasWritten) {
  JournalOptions large = options();
  large.bytes_max = 64 << 20;
  large.segment_bytes = 4 << 20;
  constexpr std::uint64_t kPuts = 4000;
  {
    Recovered nothing;
    const auto journal = open(large, nothing);
    for (std::uint64_t i = 0; i < kPuts; ++i)
      put(*journal, static_cast<std::uint32_t>(i % 7), 7000);
    ASSERT_GT(journal->stats().bytes, 24U << 20);
  }
  std::uint64_t before = 0;
  Recovered recovered;
  Replay replay = recovered.replay();
  replay.put = [&, check = replay.put](const Entry& entry) {
    EXPECT_EQ(ledger_number(entry), before + 1);
    before = ledger_number(entry);
    check(entry);
  };
  ASSERT_TRUE(Journal::open(real_files(), large, replay).has_value());
  EXPECT_EQ(before, kPuts);
  EXPECT_EQ(recovered.fault(), "");
  EXPECT_EQ(recovered.puts().size(), 7U);
}

TEST_F(JournalTest, SyncsGoOnBesideAppends) {
  constexpr std::uint32_t kPutsMin = 1500;
  constexpr std::uint32_t kPutsMax = 100'000;
  std::uint32_t puts = 0;
  JournalOptions large = options();  // each sync begins a new sector
  large.bytes_max = 64 << 20;
  large.segment_bytes = 4 << 20;
  {
    Recovered nothing;
    const auto journal = open(large, nothing);
    std::atomic<bool> over = false;
    std::thread syncing([&] {
      while (!over) EXPECT_TRUE(journal->sync().has_value());
    });
    // Until there was something beside: a busy machine may give the other thread its turn late.
    for (; puts < kPutsMin || (journal->stats().syncs < 20 && puts < kPutsMax); ++puts) {
      put(*journal, puts, 100);
      if (puts >= kPutsMin) std::this_thread::yield();
    }
    over = true;
    syncing.join();
    EXPECT_GE(journal->stats().syncs, 20U);
    EXPECT_EQ(journal->stats().lost, 0U);
  }
  Recovered recovered;
  open(large, recovered);
  EXPECT_EQ(recovered.fault(), "");
  EXPECT_EQ(recovered.puts().size(), puts);
}

TEST_F(JournalTest, LaterRecordsOverruleEarlierOnesAcrossStarts) {
  {
    Recovered nothing;
    const auto journal = open(options(), nothing);
    for (std::uint32_t key = 0; key < 6; ++key) put(*journal, key);
    const shm::CacheKey gone[] = {key_of(1), key_of(2)};
    ASSERT_TRUE(journal->erase(gone).has_value());
    put(*journal, 2);
  }
  {
    Recovered recovered;
    const auto journal = open(options(), recovered);
    EXPECT_EQ(recovered.puts().size(), 5U);
    EXPECT_FALSE(recovered.puts().contains(1));
    EXPECT_EQ(recovered.puts().at(2), 7U);
    put(*journal, 3);
    ASSERT_TRUE(journal->purge_service(1).has_value());  // keys 1, 4, 7
  }
  const Recovered recovered = reopened();
  EXPECT_EQ(recovered.puts(),
            (std::map<std::uint32_t, std::uint64_t>{{0, 1}, {2, 7}, {3, 8}, {5, 6}}));
}

TEST_F(JournalTest, APurgeLeavesNothingNotEvenOnTheDisk) {
  {
    Recovered nothing;
    const auto journal = open(options(), nothing);
    for (std::uint32_t key = 0; key < 300; ++key) put(*journal, key);
    ASSERT_TRUE(journal->purge().has_value());
    EXPECT_EQ(journal->stats().segments, 1U);
  }
  EXPECT_LE(bytes_on_disk(), 2 * kSectorBytes);
  EXPECT_EQ(reopened().entries(), 0U);
}

TEST_F(JournalTest, AnEntryThatIsTooLargeIsRefusedAndTheOthersAreKept) {
  {
    Recovered nothing;
    const auto journal = open(options(), nothing);
    const std::uint64_t most = journal->value_bytes_max();
    ASSERT_EQ(most, (32U << 10) - 80);
    std::vector<Value> values;
    for (const std::uint64_t bytes : {most - kLedgerHeadBytes, most - kLedgerHeadBytes + 1}) {
      const auto key = static_cast<std::uint32_t>(values.size());
      values.push_back(value_of(key, ledger_.put(key), bytes));
    }
    const Entry entries[] = {entry_of(0, 1, values[0]), entry_of(1, 2, values[1])};
    const base::Status status = journal->append(entries);
    ASSERT_FALSE(status.has_value());
    EXPECT_EQ(status.error().code, base::Code::kTooLarge);
    EXPECT_EQ(journal->stats().too_large, 1U);
    EXPECT_FALSE(journal->stats().degraded);
  }
  EXPECT_EQ(reopened().puts(), (std::map<std::uint32_t, std::uint64_t>{{0, 1}}));
}

TEST_F(JournalTest, TheDirectoryNeverGrowsBeyondItsBound) {
  for (const std::uint64_t bytes_max : {256ULL << 10, 1ULL << 20, (1ULL << 20) + 4096}) {
    JournalOptions small = options();
    small.bytes_max = bytes_max;
    Recovered before;
    const auto journal = open(small, before);
    std::uint64_t written = 0;
    std::uint64_t most = 0;
    for (std::uint32_t key = 0; written < 10 * bytes_max; ++key) {
      const std::size_t bytes = 100 + key * 37 % 9000;
      put(*journal, key, bytes);
      written += record_bytes(kLedgerHeadBytes + bytes);
      const std::uint64_t now = bytes_on_disk();
      ASSERT_LE(now, bytes_max);
      ASSERT_EQ(now, journal->stats().bytes);
      most = std::max(most, now);
    }
    EXPECT_GT(most, bytes_max - 2 * (64 << 10)) << "the room that is given is used";
    EXPECT_GT(journal->stats().dropped_segments, 10U);
    EXPECT_FALSE(journal->stats().degraded);
  }
  // The bound holds from the start, when it has become smaller.
  JournalOptions small = options();
  small.bytes_max = 256 << 10;
  Recovered recovered;
  const auto journal = open(small, recovered);
  EXPECT_LE(bytes_on_disk(), 256U << 10);
  EXPECT_GT(recovered.entries(), 10U);
  EXPECT_EQ(recovered.fault(), "");
}

TEST_F(JournalTest, WhatIsStillWantedIsCarriedOverWhenItsSegmentGoes) {
  std::set<std::uint32_t> wanted;
  std::map<std::uint32_t, std::uint64_t> put_as;
  {
    JournalOptions carrying = options();
    carrying.bytes_max = 256 << 10;
    carrying.keep = [&](const Entry& entry) {
      return wanted.contains(ledger_key(entry)) &&
             put_as[ledger_key(entry)] == ledger_number(entry);
    };
    Recovered nothing;
    const auto journal = open(carrying, nothing);
    for (std::uint32_t key = 0; key < 10; ++key) {
      wanted.insert(key);
      put_as[key] = put(*journal, key);
    }
    for (std::uint32_t key = 100; key < 2000; ++key) put(*journal, key);
    EXPECT_GE(journal->stats().carried, 10 * (journal->stats().dropped_segments / 4));
    EXPECT_EQ(journal->stats().appended, 1910U);
    EXPECT_LE(bytes_on_disk(), 256U << 10);
  }
  const Recovered recovered = reopened();
  for (const std::uint32_t key : wanted) {
    ASSERT_TRUE(recovered.puts().contains(key)) << key;
    EXPECT_EQ(recovered.puts().at(key), put_as[key]);
  }
}

// More than fits: what is newer goes on being written, whatever is wanted.
TEST_F(JournalTest, CarryingOverNeverStopsTheJournal) {
  JournalOptions carrying = options();
  carrying.bytes_max = 256 << 10;
  carrying.keep = [](const Entry&) { return true; };
  Recovered nothing;
  const auto journal = open(carrying, nothing);
  for (std::uint32_t key = 0; key < 3000; ++key) put(*journal, key);
  EXPECT_EQ(journal->stats().appended, 3000U);
  EXPECT_FALSE(journal->stats().degraded);
}

TEST_F(JournalTest, ManyStartsCostNoRoom) {
  for (std::uint32_t key = 0; key < 50; ++key) {
    Recovered recovered;
    const auto journal = open(options(), recovered);
    EXPECT_EQ(recovered.puts().size(), key);
    put(*journal, key);
  }
  EXPECT_LE(bytes_on_disk(), 50 * 2 * kSectorBytes);
  EXPECT_EQ(reopened().puts().size(), 50U);
  // A start at which nothing is put leaves no file behind.
  const std::size_t files = segments().size();
  for (int i = 0; i < 5; ++i) reopened();
  EXPECT_EQ(segments().size(), files);
}

TEST_F(JournalTest, ASecondJournalOnTheDirectoryIsRefusedAtOnce) {
  Recovered nothing;
  auto first = open(options(), nothing);
  const base::Nanos begin = base::now_ns();
  const auto second = Journal::open(real_files(), options(), nothing.replay());
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, base::Code::kBusy);
  EXPECT_NE(second.error().message.find("another sidecar"), std::string::npos);
  EXPECT_LT(base::now_ns() - begin, base::kSecond);
  put(*first, 1);
  first.reset();
  EXPECT_EQ(reopened().puts().size(), 1U) << "once it is gone, the directory is free";
}

TEST_F(JournalTest, ImpossibleOptionsAreRefused) {
  const Replay nothing = Recovered().replay();
  JournalOptions wrong = options();
  wrong.bytes_max = kJournalBytesMin - 1;
  EXPECT_EQ(Journal::open(real_files(), wrong, nothing).error().code, base::Code::kInvalid);
  for (const std::uint64_t bytes : {1000ULL, 4096ULL, 65'537ULL, 512ULL << 10, 1ULL << 40}) {
    wrong = options();
    wrong.segment_bytes = bytes;
    EXPECT_EQ(Journal::open(real_files(), wrong, nothing).error().code, base::Code::kInvalid)
        << bytes;
  }
  wrong = options();
  wrong.directory.clear();
  EXPECT_EQ(Journal::open(real_files(), wrong, nothing).error().code, base::Code::kInvalid);
  wrong.directory = dir_ / "no/such/parent";
  const auto lost = Journal::open(real_files(), wrong, nothing);
  EXPECT_EQ(lost.error().code, base::Code::kUnavailable);
  EXPECT_NE(lost.error().message.find("no/such/parent"), std::string::npos);
}

TEST_F(JournalTest, ASizeIsChosenWhenNoneIsGiven) {
  for (const std::uint64_t bytes_max :
       {std::uint64_t{kJournalBytesMin}, std::uint64_t{1 << 20}, std::uint64_t{100 << 20}}) {
    JournalOptions chosen = options();
    chosen.directory = dir_ / std::to_string(bytes_max);
    chosen.bytes_max = bytes_max;
    chosen.segment_bytes = 0;
    Recovered nothing;
    const auto journal = open(chosen, nothing);
    put(*journal, 1);
    EXPECT_LE(journal->stats().bytes, bytes_max / 4);
    EXPECT_GE(journal->stats().bytes, kSegmentBytesMin);
  }
}

// ---- versions ----

// The header page of the segment in `path`, changed and with the right checksum; or of another byte
// order.
void rewrite_header(const std::string& path, std::uint32_t version, bool swapped) {
  HeaderPage page;
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.read(reinterpret_cast<char*>(page.data()), page.size());
  SegmentHeader header;
  std::memcpy(&header, page.data(), sizeof header);
  header.version = version;
  if (swapped) {
    header.byte_order = __builtin_bswap32(header.byte_order);
    header.version = __builtin_bswap32(header.version);
  }
  std::memcpy(page.data(), &header, sizeof header);
  const std::uint32_t sum = checksum_of(page);
  header.checksum = swapped ? __builtin_bswap32(sum) : sum;
  std::memcpy(page.data(), &header, sizeof header);
  file.seekp(0);
  file.write(reinterpret_cast<const char*>(page.data()), page.size());
  ASSERT_TRUE(file.good());
}

TEST_F(JournalTest, AnotherVersionsFilesAreSetAsideOnceAndBegunAnew) {
  for (const bool swapped : {false, true}) {
    for (const std::uint32_t version : {0U, 2U, 77U}) {
      fs::remove_all(dir_ / "cache");
      {
        Recovered nothing;
        const auto journal = open(options(), nothing);
        for (std::uint32_t key = 0; key < 100; ++key) put(*journal, key);
      }
      const std::vector<std::string> old = segments();
      ASSERT_GE(old.size(), 2U);
      for (const std::string& path : old) rewrite_header(path, version, swapped);
      const auto size = fs::file_size(old[0]);
      {
        Recovered recovered;
        const auto journal = open(options(), recovered);
        EXPECT_EQ(recovered.entries(), 0U);
        EXPECT_EQ(journal->stats().set_aside, old.size());
        EXPECT_FALSE(journal->stats().degraded);
        EXPECT_EQ(fs::file_size(old[0] + ".set-aside"), size) << "kept as it was";
        EXPECT_FALSE(fs::exists(old[0]));
        put(*journal, 5);
      }
      EXPECT_EQ(reopened().puts().size(), 1U) << "begun anew";
      // Once: what is set aside next takes its place.
      const std::vector<std::string> young = segments();
      ASSERT_EQ(young.size(), 1U);
      rewrite_header(young[0], version + 100, swapped);
      Recovered recovered;
      const auto journal = open(options(), recovered);
      EXPECT_EQ(journal->stats().set_aside, 1U);
      EXPECT_FALSE(fs::exists(old[0] + ".set-aside"));
      EXPECT_TRUE(fs::exists(young[0] + ".set-aside"));
    }
  }
}

TEST_F(JournalTest, WhatIsSetAsideCountsAndGoesBeforeAnythingElse) {
  JournalOptions small = options();
  small.bytes_max = 256 << 10;
  {
    Recovered nothing;
    const auto journal = open(small, nothing);
    for (std::uint32_t key = 0; key < 1000; ++key) put(*journal, key);
  }
  for (const std::string& path : segments()) rewrite_header(path, 9, false);
  Recovered nothing;
  const auto journal = open(small, nothing);
  const std::uint64_t aside = journal->stats().set_aside;
  EXPECT_GT(aside, 0U);
  std::uint64_t before = aside;
  for (std::uint32_t key = 0; key < 1000; ++key) {
    put(*journal, key);
    ASSERT_LE(bytes_on_disk(), 256U << 10);
    if (journal->stats().set_aside > 0) {
      EXPECT_EQ(journal->stats().dropped_segments, 0U);
    }
    EXPECT_LE(journal->stats().set_aside, before);
    before = journal->stats().set_aside;
  }
  EXPECT_EQ(before, 0U);
  EXPECT_FALSE(journal->stats().degraded);
}

// ---- strange directories ----

TEST_F(JournalTest, NoContentOfTheDirectoryStopsAStart) {
  fs::create_directory(dir_ / "cache");
  dir_.write("cache/README", "not ours");
  dir_.write("cache/0000000000000001.journal", "");
  dir_.write("cache/0000000000000002.journal", std::string(10'000, 'x'));
  dir_.write("cache/0000000000000003.journal.set-aside", "old");
  dir_.write("cache/ffffffffffffffff.journal", std::string(10'000, '\0'));
  fs::create_directory(dir_ / "cache/0000000000000004.journal");
  fs::create_symlink(dir_ / "cache/README", dir_ / "cache/0000000000000005.journal");
  ASSERT_EQ(::mkfifo((dir_ / "cache/0000000000000006.journal").c_str(), 0600), 0);
  {
    Recovered nothing;
    const auto journal = open(options(), nothing);
    EXPECT_EQ(journal->stats().damaged, 2U);
    for (std::uint32_t key = 0; key < 100; ++key) put(*journal, key);
    EXPECT_FALSE(journal->stats().degraded);
  }
  EXPECT_EQ(reopened().puts().size(), 100U);
  EXPECT_TRUE(fs::exists(dir_ / "cache/README"));
  EXPECT_TRUE(fs::exists(dir_ / "cache/ffffffffffffffff.journal")) << "no name of ours";
}

TEST_F(JournalTest, AFileThatIsCutWhileTheJournalIsOpenCostsItsEntriesOnly) {
  JournalOptions carrying = options();
  carrying.bytes_max = 256 << 10;
  carrying.keep = [](const Entry&) { return true; };
  Recovered nothing;
  const auto journal = open(carrying, nothing);
  for (std::uint32_t key = 0; key < 100; ++key) put(*journal, key);
  for (const std::string& path : segments()) fs::resize_file(path, 5000);
  for (std::uint32_t key = 100; key < 1000; ++key) put(*journal, key);
  EXPECT_EQ(journal->stats().appended, 1000U);
}

}  // namespace
}  // namespace nacelle::cache
