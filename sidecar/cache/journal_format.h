// Every byte of a journal segment. docs/formats/cache-journal.md says the same in prose, with an
// example byte by byte.
//
//   segment   SegmentHeader, and zeros up to 4096 | records | zeros to the end of the file
//   record    RecordHeader | value | zeros up to a multiple of 16
//
// A record begins where the one before ends, or at the next multiple of 4096. Its header's checksum
// begins with the segment's random id and the record's place in the file: what an earlier file left
// on the same blocks of the disk, or a write that went to the wrong place, is no record.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "sidecar/base/bytes.h"
#include "sidecar/cache/crc32c.h"
#include "sidecar/cache/entry.h"

namespace nacelle::cache {

inline constexpr char kSegmentMagic[8] = {'N', 'L', 'J', 'O', 'U', 'R', 'N', 'L'};
inline constexpr std::uint32_t kByteOrderMark = 0x01020304;  // as the writer's processor has it
inline constexpr std::uint32_t kJournalVersion = 1;

// Sectors of disks are 512 or 4096 bytes: writing one may destroy what was in it.
inline constexpr std::uint64_t kSectorBytes = 4096;
inline constexpr std::uint64_t kRecordAlignment = 16;
inline constexpr std::uint32_t kValueBytesMax = 16U << 20;

using SegmentId = std::array<std::byte, 16>;

// The magic, the byte order, the version and the checksum have these places in every version, so
// that a file of another version is told from a damaged one.
struct SegmentHeader {
  char magic[8];                // kSegmentMagic
  std::uint32_t byte_order;     // kByteOrderMark
  std::uint32_t version;        // kJournalVersion
  std::uint32_t checksum;       // CRC-32C of the first 4096 bytes, these four taken as 0
  std::uint32_t header_bytes;   // kSectorBytes: where the first record begins
  std::uint64_t sequence;       // as in the file's name; segments are replayed in this order
  std::uint64_t segment_bytes;  // the file's size while it is written
  SegmentId id;                 // random
};
static_assert(sizeof(SegmentHeader) == 56);
static_assert(offsetof(SegmentHeader, byte_order) == 8 && offsetof(SegmentHeader, version) == 12 &&
              offsetof(SegmentHeader, checksum) == 16 && offsetof(SegmentHeader, sequence) == 24 &&
              offsetof(SegmentHeader, id) == 40);

enum class RecordKind : std::uint8_t {
  kPut = 1,           // the key has this value from now on
  kErase = 2,         // the key has none
  kPurge = 3,         // no key has one
  kPurgeService = 4,  // no key of this service has one
};

struct RecordHeader {
  std::uint32_t
      header_checksum;  // CRC-32C: segment id, offset (8 bytes), this from value_checksum on
  std::uint32_t value_checksum;  // CRC-32C of the value
  std::uint32_t value_bytes;     // head and body; 0 unless kPut
  std::uint16_t head_bytes;      // so many of these are the head
  RecordKind kind;
  std::uint8_t source;   // Source
  std::uint64_t serial;  // rises from record to record of a segment, and is never used twice
  std::int64_t created_wall_ns;
  std::uint64_t compute_ns;
  std::uint32_t ttl_s;
  std::uint32_t service;
  shm::CacheKey key;
};
static_assert(sizeof(RecordHeader) == 80);
static_assert(offsetof(RecordHeader, value_bytes) == 8 && offsetof(RecordHeader, kind) == 14 &&
              offsetof(RecordHeader, serial) == 16 && offsetof(RecordHeader, compute_ns) == 32 &&
              offsetof(RecordHeader, key) == 48);

// What a record with such a value takes in the file.
constexpr std::uint64_t record_bytes(std::uint64_t value_bytes) {
  return base::align_up(sizeof(RecordHeader) + value_bytes, kRecordAlignment);
}

// ---- checksums ----

using HeaderPage = std::array<std::byte, kSectorBytes>;

// Of a header page, whatever its checksum field holds.
inline std::uint32_t checksum_of(const HeaderPage& page) {
  constexpr std::size_t kAt = offsetof(SegmentHeader, checksum);
  constexpr std::array<std::byte, sizeof(std::uint32_t)> kNone{};
  const std::span<const std::byte> bytes(page);
  const std::uint32_t before = crc32c(kNone, crc32c(bytes.first(kAt)));
  return crc32c(bytes.subspan(kAt + kNone.size()), before);
}

// What the checksum of a record's header begins with.
inline std::uint32_t checksum_seed(const SegmentId& id, std::uint64_t offset) {
  return crc32c(std::as_bytes(std::span(&offset, 1)), crc32c(id));
}
// Of a record's header that lies at `offset` of the segment.
inline std::uint32_t checksum_of(const RecordHeader& header, const SegmentId& id,
                                 std::uint64_t offset) {
  return crc32c(std::as_bytes(std::span(&header, 1)).subspan(sizeof header.header_checksum),
                checksum_seed(id, offset));
}

// ---- segments ----

// A whole header page.
HeaderPage make_header_page(std::uint64_t sequence, std::uint64_t segment_bytes,
                            const SegmentId& id);

enum class SegmentState {
  kGood,
  kDamaged,  // or never written to its end
  kForeign,  // whole, but of another version or byte order
};
// What a file's first page says; `header` is its content when that is good.
SegmentState check_header_page(const HeaderPage& page, SegmentHeader& header);

// ---- names ----

inline constexpr std::string_view kLockName = "lock";
inline constexpr std::string_view kSegmentSuffix = ".journal";
inline constexpr std::string_view kSetAsideSuffix = ".set-aside";

// A name beyond it is none of ours: so sequences never run out.
inline constexpr std::uint64_t kSequenceMax = 1ULL << 62;

// "000000000000002a.journal"
std::string segment_name(std::uint64_t sequence);
// The sequence of such a name; nothing for any other.
std::optional<std::uint64_t> sequence_of(std::string_view name);
// Whether it is the name of a segment that was set aside.
bool is_set_aside(std::string_view name);

}  // namespace nacelle::cache
