// Holds the code to docs/formats/cache-journal.md.
#include "sidecar/cache/journal_format.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>

#include "sidecar/cache/journal.h"
#include "tests/sidecar/cache/crash_files.h"

namespace nacelle::cache {
namespace {

// With an id that nobody needs to guess: 00 01 02 ... 0f.
class ExampleFiles : public CrashFiles {
 public:
  using CrashFiles::CrashFiles;
  int random(std::span<std::byte> into) override {
    for (std::size_t i = 0; i < into.size(); ++i) into[i] = static_cast<std::byte>(i);
    return 0;
  }
};

// As the document shows bytes: the offset, then 16 of them in a row.
std::string hex(std::span<const std::byte> bytes, std::size_t from) {
  std::string text;
  char part[16];
  for (std::size_t at = 0; at < bytes.size(); at += 16) {
    std::snprintf(part, sizeof part, "%04zx ", from + at);
    text += part;
    for (std::size_t i = at; i < std::min(at + 16, bytes.size()); ++i) {
      std::snprintf(part, sizeof part, " %02x", std::to_integer<unsigned>(bytes[i]));
      text += part;
    }
    text += "\n";
  }
  return text;
}

TEST(JournalFormat, TheDocumentsExampleIsWhatIsWritten) {
  ExampleFiles files(1);
  const JournalOptions options{.directory = "cache",
                               .bytes_max = 64 << 10,
                               .segment_bytes = 16 << 10,
                               .durability = Durability::kNone,
                               .keep = {}};
  const Replay nothing{.put = [](const Entry&) {},
                       .erase = [](const shm::CacheKey&) {},
                       .purge = [](std::optional<std::uint32_t>) {}};
  shm::CacheKey key{};
  for (std::size_t i = 0; i < key.bytes.size(); ++i)
    key.bytes[i] = static_cast<std::byte>(0x20 + i);
  const std::string value = "the report 16 b.result";
  const auto bytes = std::as_bytes(std::span(value));
  const Entry entry{
      .key = key,
      .head = bytes.first(16),
      .body = bytes.subspan(16),
      .attributes = {.ttl_s = 3600, .service = 1, .source = Source::kWarm, .compute_ns = 2'000'000},
      .created_wall_ns = 1'767'225'600'000'000'000};
  {
    auto journal = Journal::open(files, options, nothing);
    ASSERT_TRUE(journal.has_value());
    ASSERT_TRUE((*journal)->append({&entry, 1}).has_value());
    ASSERT_TRUE((*journal)->erase({&key, 1}).has_value());
  }
  const auto& content = files.content("cache/0000000000000001.journal");
  ASSERT_EQ(content.size(), 2 * kSectorBytes);
  const std::span<const std::byte> all(content);
  const std::string example =
      hex(all.first(64), 0) + hex(all.subspan(kSectorBytes, 192), kSectorBytes);
  std::ifstream file(NACELLE_SOURCE_DIR "/docs/formats/cache-journal.md");
  std::stringstream document;
  document << file.rdbuf();
  // The document's lines have words behind the bytes.
  std::istringstream lines(example);
  for (std::string line; std::getline(lines, line);) {
    EXPECT_NE(document.str().find(line), std::string::npos) << line;
  }
}

TEST(JournalFormat, NamesAreReadAsTheyAreWritten) {
  for (const std::uint64_t sequence : {0ULL, 1ULL, 0x2aULL, 0xdeadbeefULL, 1ULL << 62}) {
    EXPECT_EQ(sequence_of(segment_name(sequence)), sequence);
    EXPECT_TRUE(is_set_aside(segment_name(sequence) + ".set-aside"));
  }
  EXPECT_EQ(segment_name(42), "000000000000002a.journal");
  for (const char* name :
       {"", "lock", "000000000000002a", "000000000000002A.journal", "00000000000002a.journal",
        "0000000000000002a.journal", "000000000000002g.journal", "ffffffffffffffff.journal",
        "000000000000002a.journal.set-aside", "../0000000000002a.journal"}) {
    EXPECT_FALSE(sequence_of(name).has_value()) << name;
  }
  EXPECT_FALSE(is_set_aside("old.set-aside"));
}

TEST(JournalFormat, AHeaderPageIsGoodForeignOrDamaged) {
  const SegmentId id{std::byte{7}};
  const HeaderPage good = make_header_page(5, 1 << 20, id);
  SegmentHeader header;
  ASSERT_EQ(check_header_page(good, header), SegmentState::kGood);
  EXPECT_EQ(header.sequence, 5U);
  EXPECT_EQ(header.segment_bytes, 1U << 20);
  EXPECT_EQ(header.id, id);
  for (std::size_t at = 0; at < good.size(); ++at) {
    HeaderPage page = good;
    page[at] ^= std::byte{1};
    ASSERT_EQ(check_header_page(page, header), SegmentState::kDamaged) << at;
  }
}

}  // namespace
}  // namespace nacelle::cache
