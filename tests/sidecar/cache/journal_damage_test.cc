// B5: every byte of a 64 KiB journal is changed, and the file is cut at every length: what comes
// back is exactly what was put, or does not come back.
//
//   CAMPAIGN_TRIALS=n   random changes of several bytes    CAMPAIGN_SEED=n
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "sidecar/base/log.h"
#include "tests/crash/trials.h"
#include "tests/sidecar/cache/crash_files.h"
#include "tests/sidecar/cache/journal_ledger.h"

namespace nacelle::cache {
namespace {

constexpr std::uint64_t kSegmentBytes = 64 << 10;
constexpr char kPath[] = "cache/0000000000000001.journal";

JournalOptions options() {
  return {.directory = "cache",
          .bytes_max = 4 * kSegmentBytes,
          .segment_bytes = kSegmentBytes,
          .durability = Durability::kInterval,
          .keep = {}};
}

class DamageTest : public ::testing::Test {
 protected:
  // A segment with as many entries as fit, of all sizes up to 3 KiB, synced now and then.
  void SetUp() override {
    base::set_log_level(base::LogLevel::kError);
    CrashFiles files(11);
    Recovered nothing;
    auto journal = Journal::open(files, options(), nothing.replay());
    ASSERT_TRUE(journal.has_value());
    std::uint64_t bytes = kSectorBytes;
    for (std::uint32_t key = 0;; ++key) {
      const std::size_t size = key * 211 % 3000;
      bytes += record_bytes(kLedgerHeadBytes + size);
      if (bytes > kSegmentBytes - 2 * kSectorBytes) break;
      const Value value = value_of(key, key + 1, size);
      const Entry entry = entry_of(key, key + 1, value);
      ASSERT_TRUE((*journal)->append({&entry, 1}).has_value());
      values_.push_back(value);
      if (key % 16 == 15) {
        ASSERT_TRUE((*journal)->sync().has_value());
        bytes = (bytes + kSectorBytes - 1) / kSectorBytes * kSectorBytes;
      }
    }
    content_ = files.content(kPath);
    ASSERT_EQ(content_.size(), kSegmentBytes);
  }
  void TearDown() override { base::set_log_level(base::LogLevel::kInfo); }

  // Opens a journal with this content. What comes back and is not as it was put is a fault.
  struct Outcome {
    std::uint64_t hits = 0;
    std::uint64_t wrong = 0;
  };
  Outcome open(const CrashFiles::Bytes& content) {
    CrashFiles files(1);
    files.put(kPath, content);
    Outcome outcome;
    const auto wrong = [&outcome] { ++outcome.wrong; };
    const Replay replay{.put =
                            [&](const Entry& entry) {
                              const std::uint32_t key = ledger_key(entry);
                              const bool right =
                                  key < values_.size() && entry.key == key_of(key) &&
                                  std::ranges::equal(entry.head, values_[key].head) &&
                                  std::ranges::equal(entry.body, values_[key].body) &&
                                  entry.attributes.ttl_s == key + 61 &&
                                  entry.created_wall_ns == (key + 1) * 1'000'000LL;
                              ++(right ? outcome.hits : outcome.wrong);
                            },
                        .erase = [&](const shm::CacheKey&) { wrong(); },
                        .purge = [&](std::optional<std::uint32_t>) { wrong(); }};
    const auto journal = Journal::open(files, options(), replay);
    EXPECT_TRUE(journal.has_value());
    return outcome;
  }

  CrashFiles::Bytes content_;
  std::vector<Value> values_;
};

TEST_F(DamageTest, AnyByteChangedCostsEntriesAtMost) {
  ASSERT_EQ(open(content_).hits, values_.size());
  ASSERT_GT(values_.size(), 30U);
  crash::Trials trials("B5", 0);
  std::uint64_t wrong = 0;
  std::uint64_t lost = 0;
  std::uint64_t tried = 0;
  for (std::size_t at = 0; at<content_.size(); at += crash::kFewer> 1 ? 13 : 1) {
    for (const std::byte mask : {std::byte{0x01}, std::byte{0x80}, std::byte{0xFF}}) {
      content_[at] ^= mask;
      const Outcome outcome = open(content_);
      content_[at] ^= mask;
      wrong += outcome.wrong;
      lost += values_.size() - outcome.hits;
      ++tried;
      trials.ran();
      ASSERT_EQ(outcome.wrong, 0U) << "byte " << at;
    }
  }
  EXPECT_GT(lost, tried / 2) << "damage was not even seen";
  trials.report(wrong, "each byte of 64 KiB, xor 01, 80, FF");
}

// The value alone is damaged: the entries behind it are not.
TEST_F(DamageTest, ADamagedValueCostsItsEntryOnly) {
  std::size_t at = kSectorBytes;
  for (std::size_t key = 0; key < 10; ++key) {
    const std::size_t value_bytes = values_[key].head.size() + values_[key].body.size();
    content_[at + sizeof(RecordHeader) + value_bytes / 2] ^= std::byte{4};
    EXPECT_EQ(open(content_).hits, values_.size() - 1) << key;
    content_[at + sizeof(RecordHeader) + value_bytes / 2] ^= std::byte{4};
    at += record_bytes(value_bytes);
  }
}

TEST_F(DamageTest, CutAtAnyLengthItKeepsWhatIsWhole) {
  crash::Trials trials("B5", 0);
  std::uint64_t last = values_.size();
  for (std::size_t size = content_.size(); size-- > 0;) {
    if (crash::kFewer > 1 && size % 13 != 0) continue;
    const CrashFiles::Bytes cut(content_.begin(),
                                content_.begin() + static_cast<std::ptrdiff_t>(size));
    const Outcome outcome = open(cut);
    ASSERT_EQ(outcome.wrong, 0U) << size;
    ASSERT_LE(outcome.hits, last) << size;
    last = outcome.hits;
    trials.ran();
  }
  EXPECT_EQ(last, 0U);
  trials.report(0, "every length of 64 KiB");
}

TEST_F(DamageTest, ManyBytesChangedAtOnceCostEntriesAtMost) {
  crash::Trials trials("B5", 3000 / crash::kFewer);
  for (std::uint64_t i = 0; i < trials.count(); ++i) {
    CrashFiles::Bytes content = content_;
    for (std::uint64_t changes = 1 + trials.below(12); changes > 0; --changes) {
      const std::size_t at = trials.below(content.size());
      const std::size_t size = std::min<std::size_t>(1 + trials.below(64), content.size() - at);
      const std::size_t from = trials.below(content.size() - size + 1);
      // New bytes, or some from elsewhere in the file: whole records in the wrong place, too.
      for (std::size_t k = 0; k < size; ++k) {
        content[at + k] =
            changes % 2 == 0 ? static_cast<std::byte>(trials.below(256)) : content_[from + k];
      }
    }
    ASSERT_EQ(open(content).wrong, 0U) << "trial " << i << ", seed " << trials.seed();
    trials.ran();
  }
  trials.report(0, "up to 12 places of up to 64 bytes");
}

// A sector of one place in another: good bytes, but not where they were written.
TEST_F(DamageTest, ASectorInTheWrongPlaceIsNotBelieved) {
  for (const std::size_t sector : {512U, 4096U}) {
    for (std::size_t to = 0; to < content_.size(); to += sector) {
      for (std::size_t from = kSectorBytes; from < content_.size(); from += 5 * sector) {
        CrashFiles::Bytes content = content_;
        std::copy_n(content_.begin() + static_cast<std::ptrdiff_t>(from), sector,
                    content.begin() + static_cast<std::ptrdiff_t>(to));
        ASSERT_EQ(open(content).wrong, 0U) << from << " to " << to;
      }
    }
  }
}

}  // namespace
}  // namespace nacelle::cache
