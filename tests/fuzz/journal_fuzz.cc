// Fuzzes the recovery of a journal. The input is a segment: a byte of flags, the header, the
// records.
//
//   flag 1   the checksums are made right, so that what lies behind them is reached
//   flag 2   the second half of the records is a second segment
//   flag 4   what is not in the header is left as the input has it: magic, byte order, version
//
// Whatever it is, a journal opens, takes an entry, and has the same and that entry the next time.
#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "sidecar/base/check.h"
#include "sidecar/base/log.h"
#include "sidecar/cache/journal.h"
#include "tests/fuzz/fuzz.h"
#include "tests/sidecar/cache/crash_files.h"

namespace nacelle::fuzz {
namespace {

using cache::CrashFiles;

constexpr std::uint64_t kSegmentBytes = 16 << 10;

// Checksums for what looks like records, from `kSectorBytes` on.
void fix_records(CrashFiles::Bytes& content, const cache::SegmentId& id) {
  std::size_t at = cache::kSectorBytes;
  while (content.size() - at >= sizeof(cache::RecordHeader)) {
    cache::RecordHeader header;
    std::memcpy(&header, content.data() + at, sizeof header);
    const std::size_t room = content.size() - at - sizeof header;
    const std::size_t size = std::min<std::size_t>(header.value_bytes, room);
    header.value_checksum = cache::crc32c(std::span(content).subspan(at + sizeof header, size));
    header.header_checksum = cache::checksum_of(header, id, at);
    std::memcpy(content.data() + at, &header, sizeof header);
    const std::uint64_t next = at + cache::record_bytes(size);
    if (next > content.size()) break;
    at = next;
  }
}

CrashFiles::Bytes segment(Input& input, std::size_t record_bytes, unsigned flags,
                          std::uint64_t sequence) {
  cache::SegmentHeader header{};
  input.fill(&header, sizeof header);
  if ((flags & 4) == 0) {
    std::memcpy(header.magic, cache::kSegmentMagic, sizeof header.magic);
    header.byte_order = cache::kByteOrderMark;
    header.version = cache::kJournalVersion;
    header.header_bytes = cache::kSectorBytes;
    header.sequence = sequence;
  }
  cache::HeaderPage page{};
  std::memcpy(page.data(), &header, sizeof header);
  if ((flags & 1) != 0) {
    header.checksum = cache::checksum_of(page);
    std::memcpy(page.data(), &header, sizeof header);
  }
  CrashFiles::Bytes content(page.begin(), page.end());
  content.resize(content.size() + record_bytes);
  input.fill(content.data() + cache::kSectorBytes, record_bytes);
  if ((flags & 1) != 0) fix_records(content, header.id);
  return content;
}

// What a journal gives back, as a text.
struct Told {
  std::string text;
  [[nodiscard]] cache::Replay replay() {
    return {.put =
                [this](const cache::Entry& entry) {
                  text += "put ";
                  add(std::as_bytes(std::span(entry.key.bytes)));
                  add(entry.head);
                  add(entry.body);
                  CHECK(entry.attributes.source <= cache::Source::kIdle);
                },
            .erase =
                [this](const shm::CacheKey& key) {
                  text += "erase ";
                  add(std::as_bytes(std::span(key.bytes)));
                },
            .purge =
                [this](std::optional<std::uint32_t> service) {
                  text += "purge " + (service ? std::to_string(*service) : "all") + " ";
                }};
  }
  void add(std::span<const std::byte> bytes) {
    text += std::to_string(bytes.size()) + ":";
    for (const std::byte byte : bytes) text += static_cast<char>(byte);
  }
};

void recover(Input& input) {
  base::set_log_level(base::LogLevel::kError);
  const unsigned flags = input.take<std::uint8_t>();
  const cache::JournalOptions options{.directory = "cache",
                                      .bytes_max = 8 * kSegmentBytes,
                                      .segment_bytes = kSegmentBytes,
                                      .durability = cache::Durability::kNone,
                                      .keep = {}};
  CrashFiles files(1);
  const std::size_t headers = sizeof(cache::SegmentHeader) * ((flags & 2) != 0 ? 2 : 1);
  const std::size_t records = input.left() > headers ? input.left() - headers : 0;
  const std::size_t first = (flags & 2) != 0 ? records / 2 : records;
  files.put("cache/0000000000000001.journal", segment(input, first, flags, 1));
  if ((flags & 2) != 0) {
    files.put("cache/0000000000000002.journal", segment(input, records - first, flags, 2));
  }
  Told told;
  const std::string value = "a value";
  const cache::Entry entry{.key = {},
                           .head = std::as_bytes(std::span(value)).first(2),
                           .body = std::as_bytes(std::span(value)).subspan(2),
                           .attributes = {},
                           .created_wall_ns = 1};
  {
    auto journal = cache::Journal::open(files, options, told.replay());
    CHECK(journal.has_value());
    CHECK((*journal)->append({&entry, 1}).has_value());
    CHECK(files.bytes() <= options.bytes_max);
  }
  told.replay().put(entry);
  Told again;
  CHECK(cache::Journal::open(files, options, again.replay()).has_value());
  CHECK(again.text == told.text);
}

}  // namespace
}  // namespace nacelle::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  nacelle::fuzz::Input input(data, size);
  nacelle::fuzz::recover(input);
  return 0;
}
