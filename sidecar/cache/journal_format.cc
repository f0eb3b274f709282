#include "sidecar/cache/journal_format.h"

#include <cstdio>

namespace nacelle::cache {
namespace {

constexpr std::size_t kDigits = 16;

}  // namespace

HeaderPage make_header_page(std::uint64_t sequence, std::uint64_t segment_bytes,
                            const SegmentId& id) {
  SegmentHeader header{};
  std::memcpy(header.magic, kSegmentMagic, sizeof header.magic);
  header.byte_order = kByteOrderMark;
  header.version = kJournalVersion;
  header.header_bytes = kSectorBytes;
  header.sequence = sequence;
  header.segment_bytes = segment_bytes;
  header.id = id;
  HeaderPage page{};
  std::memcpy(page.data(), &header, sizeof header);
  header.checksum = checksum_of(page);
  std::memcpy(page.data(), &header, sizeof header);
  return page;
}

SegmentState check_header_page(const HeaderPage& page, SegmentHeader& header) {
  std::memcpy(&header, page.data(), sizeof header);
  if (std::memcmp(header.magic, kSegmentMagic, sizeof header.magic) != 0) {
    return SegmentState::kDamaged;
  }
  const std::uint32_t sum = checksum_of(page);
  if (header.byte_order == __builtin_bswap32(kByteOrderMark)) {
    return header.checksum == __builtin_bswap32(sum) ? SegmentState::kForeign
                                                     : SegmentState::kDamaged;
  }
  if (header.checksum != sum || header.byte_order != kByteOrderMark) return SegmentState::kDamaged;
  if (header.version != kJournalVersion) return SegmentState::kForeign;
  return header.header_bytes == kSectorBytes ? SegmentState::kGood : SegmentState::kDamaged;
}

std::string segment_name(std::uint64_t sequence) {
  char digits[kDigits + 1];
  std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(sequence));
  return digits + std::string(kSegmentSuffix);
}

std::optional<std::uint64_t> sequence_of(std::string_view name) {
  if (name.size() != kDigits + kSegmentSuffix.size() || !name.ends_with(kSegmentSuffix)) {
    return std::nullopt;
  }
  std::uint64_t sequence = 0;
  for (const char c : name.substr(0, kDigits)) {
    std::uint64_t digit = 0;
    if (c >= '0' && c <= '9') {
      digit = static_cast<std::uint64_t>(c - '0');
    } else if (c >= 'a' && c <= 'f') {
      digit = static_cast<std::uint64_t>(c - 'a') + 10;
    } else {
      return std::nullopt;
    }
    sequence = sequence << 4 | digit;
  }
  if (sequence > kSequenceMax) return std::nullopt;
  return sequence;
}

bool is_set_aside(std::string_view name) {
  return name.ends_with(kSetAsideSuffix) &&
         sequence_of(name.substr(0, name.size() - kSetAsideSuffix.size())).has_value();
}

}  // namespace nacelle::cache
