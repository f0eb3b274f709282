#include "sidecar/cache/segment_reader.h"

#include <algorithm>
#include <cstring>

#include "sidecar/base/bytes.h"

namespace nacelle::cache {
namespace {

// Read at once: large enough that a call costs nothing, small enough to stay in the second cache
// until its records have been used.
constexpr std::size_t kBlockBytes = 512 << 10;

}  // namespace

Entry entry_of(const Record& record) {
  const RecordHeader& header = record.header;
  return Entry{.key = header.key,
               .head = record.value.first(header.head_bytes),
               .body = record.value.subspan(header.head_bytes),
               .attributes = {.ttl_s = header.ttl_s,
                              .service = header.service,
                              .source = static_cast<Source>(header.source),
                              .compute_ns = header.compute_ns},
               .created_wall_ns = header.created_wall_ns};
}

SegmentReader::SegmentReader(Files& files, int file, const SegmentId& id, std::uint64_t size)
    : files_(files), file_(file), id_(id), size_(size) {}

// Bounds before the checksum: they are cheaper, and behind the last record there are zeros.
bool SegmentReader::credible(const RecordHeader& header, std::uint64_t offset) const {
  if (header.kind < RecordKind::kPut || header.kind > RecordKind::kPurgeService) return false;
  if (header.kind != RecordKind::kPut && header.value_bytes != 0) return false;
  return header.value_bytes <= kValueBytesMax && header.head_bytes <= header.value_bytes &&
         header.source <= static_cast<std::uint8_t>(Source::kIdle) && header.serial > serial_ &&
         base::fits(offset, sizeof header + header.value_bytes, size_) &&
         header.header_checksum == checksum_of(header, id_, offset);
}

bool SegmentReader::read(Block& block, std::size_t size) {
  block.bytes.resize(std::max(block.bytes.size(), size));
  const std::int64_t count = read_at(files_, file_, std::span(block.bytes).first(size), at_);
  if (count == static_cast<std::int64_t>(size)) return true;
  // Somebody else made it shorter meanwhile, or the disk does not give it.
  failed_ = true;
  over_ = true;
  if (count > 0) size_ = at_ + static_cast<std::uint64_t>(count);
  return count > 0;
}

SegmentReader::Rest SegmentReader::parse(Block& block) {
  const std::uint64_t filled = std::min<std::uint64_t>(block.bytes.size(), size_ - at_);
  std::uint64_t at = 0;
  while (at < filled && filled - at >= sizeof(RecordHeader)) {
    Record record;
    std::memcpy(&record.header, block.bytes.data() + at, sizeof record.header);
    if (!credible(record.header, at_ + at)) {
      // Behind what was synced, records go on in a new sector.
      const std::uint64_t sector = base::align_up(at_ + at, kSectorBytes) - at_;
      if (sector == at) {
        over_ = true;
        return {at, 0};
      }
      at = sector;
      continue;
    }
    const std::uint64_t size = sizeof record.header + record.header.value_bytes;
    if (!base::fits(at, size, filled)) return {at, size};
    record.value = std::span<const std::byte>(block.bytes)
                       .subspan(at + sizeof record.header, record.header.value_bytes);
    serial_ = record.header.serial;
    if (crc32c(record.value) == record.header.value_checksum) {
      block.records.push_back(record);
      ++records_;
    } else {
      ++damaged_;
    }
    at += record_bytes(record.header.value_bytes);
    end_ = at_ + at;
  }
  return {at, sizeof(RecordHeader)};
}

bool SegmentReader::next(Block& block) {
  block.records.clear();
  std::size_t size = kBlockBytes;
  while (!over_ && block.records.empty()) {
    if (at_ >= size_ || size_ - at_ < sizeof(RecordHeader)) {
      over_ = true;
      break;
    }
    size = static_cast<std::size_t>(std::min<std::uint64_t>(size, size_ - at_));
    if (!read(block, size)) break;
    block.bytes.resize(size);
    const Rest rest = parse(block);
    at_ += rest.at;
    size = std::max<std::size_t>(kBlockBytes, rest.needs);
  }
  return !block.records.empty();
}

SegmentState read_header(Files& files, int file, SegmentHeader& header, int& error) {
  HeaderPage page;
  const std::int64_t count = read_at(files, file, page, 0);
  error = count < 0 ? static_cast<int>(count) : 0;
  if (count != static_cast<std::int64_t>(page.size())) return SegmentState::kDamaged;
  return check_header_page(page, header);
}

}  // namespace nacelle::cache
