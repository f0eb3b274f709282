// The records of a journal segment, as far as they can be believed.
//
// A record whose header is not what was written ends the segment: nobody knows where the next one
// begins. One whose value alone is damaged is left out, and reading goes on behind it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "sidecar/cache/entry.h"
#include "sidecar/cache/files.h"
#include "sidecar/cache/journal_format.h"

namespace nacelle::cache {

struct Record {
  RecordHeader header;
  std::span<const std::byte> value;
};

// Of a kPut.
Entry entry_of(const Record& record);

// Some records, and the bytes that their values are in. Used again and again.
struct Block {
  std::vector<std::byte> bytes;
  std::vector<Record> records;
};

class SegmentReader {
 public:
  // Of a file of `size` bytes whose header page was checked and has this id. The file must stay
  // open.
  SegmentReader(Files& files, int file, const SegmentId& id, std::uint64_t size);

  // The next records, in their order; false when there are no more. What was in `block` is gone.
  bool next(Block& block);

  // Behind the last record that was believed: a multiple of kRecordAlignment.
  [[nodiscard]] std::uint64_t end() const { return end_; }
  [[nodiscard]] std::uint64_t records() const { return records_; }
  // Records with a damaged value.
  [[nodiscard]] std::uint64_t damaged() const { return damaged_; }
  // The file could not be read any further: what is behind end() may be good.
  [[nodiscard]] bool failed() const { return failed_; }

 private:
  [[nodiscard]] bool credible(const RecordHeader& header, std::uint64_t offset) const;
  bool read(Block& block, std::size_t size);
  // Records of the block up to the first that is not whole in it: its place, and what it needs.
  struct Rest {
    std::uint64_t at;
    std::uint64_t needs;
  };
  Rest parse(Block& block);

  Files& files_;
  int file_;
  SegmentId id_;
  std::uint64_t size_;
  std::uint64_t at_ = kSectorBytes;  // where the next block begins
  std::uint64_t end_ = kSectorBytes;
  std::uint64_t serial_ = 0;  // of the last record
  std::uint64_t records_ = 0;
  std::uint64_t damaged_ = 0;
  bool failed_ = false;
  bool over_ = false;
};

// A segment's first page; kDamaged when the file is shorter or cannot be read, and `error` is then
// an errno's negative or 0.
SegmentState read_header(Files& files, int file, SegmentHeader& header, int& error);

}  // namespace nacelle::cache
