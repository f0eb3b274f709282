// The journal's segments: how one begins, and what goes to make room for it.
//
// Segments go one by one, the oldest first, and the directory is synced after each: after a power
// cut the journal has lost some of its oldest segments, never one from the middle. So what an erase
// or a purge has removed cannot come back.
#include <algorithm>
#include <cerrno>
#include <utility>

#include "sidecar/base/bytes.h"
#include "sidecar/cache/journal.h"
#include "sidecar/cache/segment_reader.h"

namespace nacelle::cache {
namespace {

constexpr int kNameTriesMax = 16;

bool no_room(int error) { return error == -ENOSPC || error == -EDQUOT; }

}  // namespace

bool Journal::roll() {
  finish_current();
  if (off_ || paused_) return false;
  if (!make_room()) {
    degrade("remove old segments of the result cache", -EFBIG);
    return false;
  }
  int error = create_segment();
  // The disk is smaller than bytes_max: then it is the limit.
  if (no_room(error) && drop_oldest()) error = create_segment();
  if (error < 0) {
    degrade("begin a segment of the result cache", error);
    return false;
  }
  carry_and_drop();
  return !paused_;
}

void Journal::finish_current() {
  if (current_ == nullptr) return;
  if (options_.durability != Durability::kNone) sync_current();
  SegmentFile& segment = inventory_.segments.back();
  const std::uint64_t bytes = base::align_up(current_->tail, kSectorBytes);
  if (bytes < segment.bytes && files_.truncate(current_->file.get(), bytes) == 0) {
    segment.bytes = bytes;
  }
  current_.reset();
}

int Journal::create_segment() {
  SegmentFile segment;
  OpenFile file;
  int error = -EEXIST;
  for (int i = 0; i < kNameTriesMax && error == -EEXIST; ++i) {
    segment.sequence = inventory_.sequence_next++;
    segment.name = segment_name(segment.sequence);
    error = open_file(files_, path_of(segment.name), OpenFor::kCreating, file);
  }
  if (error < 0) return error;
  ++directory_changes_;
  error = fill_segment(file.get(), segment);
  if (error < 0) {
    const std::int64_t size = files_.size(file.get());
    segment.bytes = size < 0 ? segment_bytes_ : static_cast<std::uint64_t>(size);
    if (files_.unlink(path_of(segment.name)) != 0) inventory_.segments.push_back(segment);
    return error;
  }
  current_ = std::make_shared<Current>();
  current_->file = std::move(file);
  current_->id = segment.id;
  inventory_.segments.push_back(segment);
  return 0;
}

int Journal::fill_segment(int file, SegmentFile& segment) {
  if (const int error = files_.random(segment.id); error < 0) return error;
  if (const int error = allocate_file(files_, file, segment_bytes_); error < 0) return error;
  segment.bytes = segment_bytes_;
  segment.readable = true;
  return write_at(files_, file, make_header_page(segment.sequence, segment_bytes_, segment.id), 0);
}

// Whether there is no room for one more segment.
bool Journal::crowded() const {
  return inventory_.bytes() > options_.bytes_max - segment_bytes_ ||
         inventory_.segments.size() >= kSegmentsMax;
}

bool Journal::make_room() {
  while (crowded() && drop_oldest()) {
  }
  return !crowded();
}

// What another version left goes first.
bool Journal::drop_oldest() {
  if (!inventory_.set_aside.empty()) {
    const int error = files_.unlink(path_of(inventory_.set_aside.front().name));
    if (error < 0 && error != -ENOENT) return false;
    inventory_.set_aside.erase(inventory_.set_aside.begin());
    return true;
  }
  const std::size_t stays = current_ != nullptr ? 1 : 0;
  if (inventory_.segments.size() <= stays || !durable_) return false;
  const int error = files_.unlink(path_of(inventory_.segments.front().name));
  if (error < 0 && error != -ENOENT) return false;
  inventory_.segments.erase(inventory_.segments.begin());
  ++stats_.dropped_segments;
  ++directory_changes_;
  sync_directory();
  return true;
}

// Once a new segment is begun: room for the next one, with what is still wanted carried over.
void Journal::carry_and_drop() {
  while (crowded()) {
    const bool old_segment = inventory_.set_aside.empty() && inventory_.segments.size() > 1;
    if (old_segment && options_.keep && !carry(inventory_.segments.front())) return;
    if (!drop_oldest()) return;
  }
}

// False when that could not be written, or not be made durable where it must be.
bool Journal::carry(const SegmentFile& segment) {
  const std::uint64_t limit = segment_bytes_ / 2 / kSectorBytes * kSectorBytes;
  OpenFile file;
  if (!segment.readable || open_file(files_, path_of(segment.name), OpenFor::kReading, file) < 0) {
    return true;
  }
  SegmentReader reader(files_, file.get(), segment.id, segment.bytes);
  const std::uint64_t written_before = written_;
  bool good = true;
  for (Block block; good && reader.next(block);) {
    for (const Record& record : block.records) {
      if (!good) break;
      if (record.header.kind != RecordKind::kPut || !options_.keep(entry_of(record))) continue;
      const std::uint64_t at = current_->tail + buffer_.size();
      if (!base::fits(at, record_bytes(record.header.value_bytes), limit)) continue;
      const Entry entry = entry_of(record);
      good = add(record.header, entry.head, entry.body);
    }
  }
  good = good && flush();
  stats_.carried += written_ - written_before;
  if (!good) return false;
  return options_.durability == Durability::kNone || !durable_ || sync_current();
}

}  // namespace nacelle::cache
