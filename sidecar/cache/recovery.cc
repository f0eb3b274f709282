#include "sidecar/cache/recovery.h"

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "sidecar/base/bytes.h"
#include "sidecar/base/file.h"
#include "sidecar/base/log.h"
#include "sidecar/cache/read_ahead.h"
#include "sidecar/cache/segment_reader.h"

namespace nacelle::cache {
namespace {

// Below this a thread costs more than it saves.
constexpr std::uint64_t kAheadBytesMin = 16 << 20;

// No segment is that large; somebody's sparse file may be, and sums must not overflow.
constexpr std::uint64_t kFileBytesMax = 1ULL << 48;

std::string path_of(const std::string& directory, std::string_view name) {
  return directory + "/" + std::string(name);
}

void sort_by_sequence(std::vector<SegmentFile>& files) {
  std::sort(files.begin(), files.end(),
            [](const SegmentFile& a, const SegmentFile& b) { return a.sequence < b.sequence; });
}

// What one name of the directory turned out to be.
SegmentState look_at(Files& files, const std::string& directory, SegmentFile& segment, int& error) {
  OpenFile file;
  error = open_file(files, path_of(directory, segment.name), OpenFor::kReading, file);
  if (error < 0) return SegmentState::kDamaged;
  const std::int64_t size = files.size(file.get());
  if (size < 0) {
    error = static_cast<int>(size);
    return SegmentState::kDamaged;
  }
  segment.bytes = std::min(static_cast<std::uint64_t>(size), kFileBytesMax);
  SegmentHeader header;
  const SegmentState state = read_header(files, file.get(), header, error);
  if (state == SegmentState::kGood) {
    // A copy under another name would be replayed twice, out of its order.
    if (header.sequence != segment.sequence) return SegmentState::kDamaged;
    segment.id = header.id;
    segment.readable = true;
  }
  return state;
}

// Another version's files, in the place of what was set aside before.
void set_aside(Files& files, const std::string& directory, std::vector<SegmentFile>& foreign,
               Inventory& inventory) {
  if (foreign.empty()) return;
  std::erase_if(inventory.set_aside, [&](const SegmentFile& old) {
    return files.unlink(path_of(directory, old.name)) == 0;
  });
  for (SegmentFile& segment : foreign) {
    const std::string name = segment.name + std::string(kSetAsideSuffix);
    if (files.rename(path_of(directory, segment.name), path_of(directory, name)) != 0) {
      inventory.segments.push_back(segment);  // in the way, but it takes room
      continue;
    }
    segment.name = name;
    std::erase_if(inventory.set_aside, [&](const SegmentFile& old) { return old.name == name; });
    inventory.set_aside.push_back(segment);
    inventory.renamed = true;
  }
  base::log_warn("The result cache on disk was written by another version; it is set aside",
                 {{"directory", directory}, {"files", foreign.size()}});
}

// The records of several segments, one after the other.
class SegmentsReader {
 public:
  SegmentsReader(Files& files, const std::string& directory, std::vector<SegmentFile>& segments)
      : files_(files), directory_(directory), segments_(segments), outcomes_(segments.size()) {}

  struct Outcome {
    std::uint64_t end = 0;  // 0: it was not opened
    std::uint64_t records = 0;
    std::uint64_t damaged = 0;
    bool failed = false;
  };

  bool next(Block& block) {
    for (;;) {
      if (reader_) {
        if (reader_->next(block)) return true;
        outcomes_[index_ - 1] = {reader_->end(), reader_->records(), reader_->damaged(),
                                 reader_->failed()};
        reader_.reset();
      }
      if (index_ == segments_.size()) return false;
      open(segments_[index_++]);
    }
  }
  [[nodiscard]] const Outcome& outcome(std::size_t index) const { return outcomes_[index]; }

 private:
  void open(SegmentFile& segment) {
    if (!segment.readable) return;
    if (open_file(files_, path_of(directory_, segment.name), OpenFor::kReading, file_) < 0) {
      outcomes_[index_ - 1].failed = true;
      return;
    }
    reader_.emplace(files_, file_.get(), segment.id, segment.bytes);
  }

  Files& files_;
  const std::string& directory_;
  std::vector<SegmentFile>& segments_;
  std::vector<Outcome> outcomes_;
  std::size_t index_ = 0;  // of the segment to be opened next
  OpenFile file_;
  std::optional<SegmentReader> reader_;
};

// Gives the disk back what lies empty behind a segment's last record.
void cut(Files& files, const std::string& directory, SegmentFile& segment, std::uint64_t end) {
  const std::uint64_t bytes = base::align_up(end, kSectorBytes);
  if (bytes >= segment.bytes) return;
  OpenFile file;
  if (open_file(files, path_of(directory, segment.name), OpenFor::kWriting, file) < 0) return;
  if (files.truncate(file.get(), bytes) == 0) segment.bytes = bytes;
}

void replay_record(const Record& record, const Replay& replay) {
  switch (record.header.kind) {
    case RecordKind::kPut:
      return replay.put(entry_of(record));
    case RecordKind::kErase:
      return replay.erase(record.header.key);
    case RecordKind::kPurge:
      return replay.purge(std::nullopt);
    case RecordKind::kPurgeService:
      return replay.purge(record.header.service);
  }
}

}  // namespace

std::uint64_t Inventory::bytes() const {
  std::uint64_t sum = 0;
  for (const SegmentFile& segment : segments) sum += segment.bytes;
  for (const SegmentFile& segment : set_aside) sum += segment.bytes;
  return sum;
}

int take_inventory(Files& files, const std::string& directory, Inventory& inventory) {
  inventory = {};
  std::vector<std::string> names;
  const int listed = files.list(directory, kNamesMax, names);
  if (listed < 0) return listed;
  std::vector<SegmentFile> foreign;
  for (const std::string& name : names) {
    SegmentFile segment;
    segment.name = name;
    int error = 0;
    if (is_set_aside(name)) {
      segment.sequence = sequence_of(name.substr(0, segment_name(0).size())).value_or(0);
      look_at(files, directory, segment, error);  // for its size
      segment.readable = false;
      inventory.set_aside.push_back(segment);
      continue;
    }
    const std::optional<std::uint64_t> sequence = sequence_of(name);
    if (!sequence) continue;
    segment.sequence = *sequence;
    inventory.sequence_next = std::max(inventory.sequence_next, *sequence + 1);
    switch (look_at(files, directory, segment, error)) {
      case SegmentState::kGood:
        inventory.segments.push_back(segment);
        break;
      case SegmentState::kForeign:
        foreign.push_back(segment);
        break;
      case SegmentState::kDamaged:
        // One that cannot be read now may be good later.
        if (error == 0 && files.unlink(path_of(directory, name)) == 0) {
          ++inventory.damaged;
        } else {
          inventory.segments.push_back(segment);
        }
    }
  }
  set_aside(files, directory, foreign, inventory);
  sort_by_sequence(inventory.segments);
  sort_by_sequence(inventory.set_aside);
  return 0;
}

Replayed replay_segments(Files& files, const std::string& directory,
                         std::vector<SegmentFile>& segments, const Replay& replay) {
  Replayed sum;
  std::uint64_t bytes = 0;
  for (const SegmentFile& segment : segments) bytes += segment.bytes;
  SegmentsReader reader(files, directory, segments);
  read_ahead<Block>(
      bytes >= kAheadBytesMin, [&](Block& block) { return reader.next(block); },
      [&](const Block& block) {
        for (const Record& record : block.records) replay_record(record, replay);
      });
  std::vector<SegmentFile> kept;
  for (std::size_t i = 0; i < segments.size(); ++i) {
    SegmentFile& segment = segments[i];
    const SegmentsReader::Outcome& outcome = reader.outcome(i);
    sum.records += outcome.records;
    sum.damaged += outcome.damaged;
    sum.bytes += outcome.end;
    sum.unreadable += outcome.failed || !segment.readable ? 1 : 0;
    if (segment.readable && !outcome.failed) {
      const bool empty = outcome.end <= kSectorBytes;
      if (empty && files.unlink(path_of(directory, segment.name)) == 0) continue;
      cut(files, directory, segment, outcome.end);
    }
    kept.push_back(segment);
  }
  segments = std::move(kept);
  return sum;
}

}  // namespace nacelle::cache
