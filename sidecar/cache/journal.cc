#include "sidecar/cache/journal.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "sidecar/base/bytes.h"
#include "sidecar/base/file.h"
#include "sidecar/base/log.h"

namespace nacelle::cache {
namespace {

// Written with one call: enough that calls cost little.
constexpr std::size_t kWriteBytes = 1 << 20;
constexpr std::uint64_t kSegmentBytesUsual = 64 << 20;
constexpr std::uint64_t kSegmentsUsual = 16;
constexpr std::uint64_t kSegmentsMin = 4;

std::uint64_t segment_bytes_of(const JournalOptions& options) {
  if (options.segment_bytes != 0) return options.segment_bytes;
  return std::clamp(options.bytes_max / kSegmentsUsual / kSectorBytes * kSectorBytes,
                    kSegmentBytesMin, kSegmentBytesUsual);
}

base::Status check(const JournalOptions& options) {
  if (options.directory.empty()) {
    return base::Error{base::Code::kInvalid, "the result cache's directory has no name"};
  }
  if (options.bytes_max < kJournalBytesMin) {
    return base::Error{base::Code::kInvalid,
                       "the result cache on disk needs " + std::to_string(kJournalBytesMin) +
                           " bytes at least, not " + std::to_string(options.bytes_max)};
  }
  const std::uint64_t segment = segment_bytes_of(options);
  if (segment < kSegmentBytesMin || segment > kSegmentBytesMax || segment % kSectorBytes != 0 ||
      segment > options.bytes_max / kSegmentsMin) {
    return base::Error{base::Code::kInvalid,
                       "a segment of the result cache has " + std::to_string(kSegmentBytesMin) +
                           " bytes at least, a quarter of the whole at most, and a multiple of " +
                           std::to_string(kSectorBytes) + ", not " + std::to_string(segment)};
  }
  return base::ok();
}

RecordHeader header_of(const Entry& entry) {
  RecordHeader header{};
  header.value_bytes = static_cast<std::uint32_t>(entry.head.size() + entry.body.size());
  header.head_bytes = static_cast<std::uint16_t>(entry.head.size());
  header.kind = RecordKind::kPut;
  header.source = static_cast<std::uint8_t>(entry.attributes.source);
  header.created_wall_ns = entry.created_wall_ns;
  header.compute_ns = entry.attributes.compute_ns;
  header.ttl_s = entry.attributes.ttl_s;
  header.service = entry.attributes.service;
  header.key = entry.key;
  return header;
}

}  // namespace

Journal::Journal(Files& files, const JournalOptions& options)
    : files_(files), options_(options), segment_bytes_(segment_bytes_of(options)) {}

base::Result<std::unique_ptr<Journal>> Journal::open(Files& files, const JournalOptions& options,
                                                     const Replay& replay) {
  const base::Status good = check(options);
  if (!good) return good.error();
  std::unique_ptr<Journal> journal(new Journal(files, options));
  const base::Status locked = journal->lock_directory();
  if (!locked) return locked.error();
  journal->recover(replay);
  return journal;
}

base::Status Journal::lock_directory() {
  const std::string& directory = options_.directory;
  const auto failed = [&](int error) {
    return base::Error{
        base::Code::kUnavailable,
        "cannot use " + directory + " for the result cache: " + base::errno_text(-error)};
  };
  if (const int made = files_.make_directory(directory); made < 0) return failed(made);
  const std::string path = path_of(std::string(kLockName));
  if (const int opened = open_file(files_, path, OpenFor::kLocking, lock_); opened < 0) {
    return failed(opened);
  }
  const int locked = lock_file(files_, lock_.get());
  if (locked == -EWOULDBLOCK) {
    return base::Error{base::Code::kBusy, "another sidecar has its result cache in " + directory +
                                              ": give each a directory of its own"};
  }
  if (locked < 0) return failed(locked);
  return base::ok();
}

void Journal::recover(const Replay& replay) {
  const std::lock_guard lock(mutex_);
  if (const int listed = take_inventory(files_, options_.directory, inventory_); listed < 0) {
    off_ = true;
    return degrade("look into " + options_.directory, listed);
  }
  if (inventory_.renamed) ++directory_changes_;
  // The bound may have become smaller.
  while (inventory_.bytes() > options_.bytes_max && drop_oldest()) {
  }
  const Replayed replayed =
      replay_segments(files_, options_.directory, inventory_.segments, replay);
  stats_.recovered = replayed.records;
  stats_.recovered_bytes = replayed.bytes;
  stats_.damaged = replayed.damaged + inventory_.damaged;
  if (stats_.damaged + replayed.unreadable > 0) {
    base::log_warn("Part of the result cache on disk is damaged; what is good is used",
                   {{"directory", options_.directory},
                    {"records", replayed.damaged},
                    {"files", inventory_.damaged},
                    {"unreadable", replayed.unreadable}});
  }
}

Journal::~Journal() {
  const std::lock_guard lock(mutex_);
  finish_current();
}

std::uint64_t Journal::value_bytes_max() const {
  return std::min<std::uint64_t>(kValueBytesMax, segment_bytes_ / 2 - sizeof(RecordHeader));
}

base::Status Journal::append(std::span<const Entry> entries) {
  const std::lock_guard lock(mutex_);
  const std::uint64_t written_before = written_ - stats_.carried;
  std::uint64_t too_large = 0;
  bool good = !off_ && !paused_;
  for (const Entry& entry : entries) {
    if (entry.head.size() > UINT16_MAX ||
        entry.head.size() + entry.body.size() > value_bytes_max()) {
      ++too_large;
    } else if (good) {
      good = add(header_of(entry), entry.head, entry.body);
    }
  }
  good = good && flush();
  const std::uint64_t written = written_ - stats_.carried - written_before;
  stats_.appended += written;
  stats_.too_large += too_large;
  stats_.lost += entries.size() - too_large - written;
  if (options_.durability == Durability::kAlways) good = good && sync_current();
  if (!good) return trouble();
  if (too_large > 0) {
    return base::Error{base::Code::kTooLarge,
                       std::to_string(too_large) + " entries are larger than " +
                           std::to_string(value_bytes_max()) + " bytes: they are not kept on disk"};
  }
  return base::ok();
}

base::Status Journal::erase(std::span<const shm::CacheKey> keys) {
  const std::lock_guard lock(mutex_);
  std::vector<RecordHeader> headers(keys.size());
  for (std::size_t i = 0; i < keys.size(); ++i) {
    headers[i].kind = RecordKind::kErase;
    headers[i].key = keys[i];
  }
  return write_durably(headers);
}

base::Status Journal::purge_service(std::uint32_t service) {
  const std::lock_guard lock(mutex_);
  RecordHeader header{};
  header.kind = RecordKind::kPurgeService;
  header.service = service;
  return write_durably({&header, 1});
}

base::Status Journal::purge() {
  const std::lock_guard lock(mutex_);
  finish_current();
  RecordHeader header{};
  header.kind = RecordKind::kPurge;
  const base::Status recorded = write_durably({&header, 1});
  if (!recorded) finish_current();
  std::erase_if(inventory_.set_aside,
                [&](const SegmentFile& old) { return files_.unlink(path_of(old.name)) == 0; });
  // Whatever is older than the record is only in the way; without one, all must go.
  const std::size_t stays = recorded ? 1 : 0;
  while (inventory_.segments.size() > stays && drop_oldest()) {
  }
  const bool gone = inventory_.segments.empty() && durable_ && !off_;
  return gone ? base::ok() : recorded;
}

base::Status Journal::write_durably(std::span<const RecordHeader> headers) {
  if (off_) return trouble();
  paused_ = false;  // rare, and worth a try
  bool good = true;
  for (const RecordHeader& header : headers) good = good && add(header, {}, {});
  if (good && flush() && sync_current()) return base::ok();
  return trouble();
}

bool Journal::add(RecordHeader header, std::span<const std::byte> head,
                  std::span<const std::byte> body) {
  const std::uint64_t bytes = record_bytes(header.value_bytes);
  if (current_ == nullptr || !base::fits(current_->tail + buffer_.size(), bytes, segment_bytes_)) {
    if (!flush() || !roll()) return false;
  }
  const std::uint64_t at = buffer_.size();
  header.serial = ++current_->serial;
  header.value_checksum = crc32c(body, crc32c(head));
  header.header_checksum = checksum_of(header, current_->id, current_->tail + at);
  buffer_.resize(at + bytes);
  std::byte* const out = buffer_.data() + at;
  std::memcpy(out, &header, sizeof header);
  base::copy_bytes(out + sizeof header, head.data(), head.size());
  base::copy_bytes(out + sizeof header + head.size(), body.data(), body.size());
  ++buffered_;
  return buffer_.size() < kWriteBytes || flush();
}

bool Journal::flush() {
  if (buffer_.empty()) return true;
  const int error = write_at(files_, current_->file.get(), buffer_, current_->tail);
  if (error < 0) {
    degrade("write " + inventory_.segments.back().name, error);
  } else {
    current_->tail += buffer_.size();
    written_ += buffered_;
    if (stats_.degraded && durable_) {
      base::log_info("The result cache on disk is written again",
                     {{"directory", options_.directory}});
      stats_.degraded = false;
      stats_.reason.clear();
    }
  }
  buffer_.clear();
  buffered_ = 0;
  // Part of what failed may be there, and look like good records: nothing is written behind them.
  // In an empty segment the next try begins at the same place, with later serials.
  if (error < 0 && current_->tail > kSectorBytes) finish_current();
  return error >= 0;
}

// What was synced is never written again: while a sector is written, its old content is at risk,
// too.
bool Journal::sync_current() {
  if (!durable_) return false;
  if (current_ != nullptr && current_->synced < current_->tail) {
    ++stats_.syncs;
    if (const int error = sync_file(files_, current_->file.get()); error < 0) {
      never_durable_again("sync " + inventory_.segments.back().name, error);
      return false;
    }
    current_->tail = base::align_up(current_->tail, kSectorBytes);
    current_->synced = current_->tail;
  }
  return sync_directory();
}

bool Journal::sync_directory() {
  if (!durable_) return false;
  if (directory_synced_ == directory_changes_) return true;
  if (const int error = files_.sync_directory(options_.directory); error < 0) {
    never_durable_again("sync " + options_.directory, error);
    return false;
  }
  directory_synced_ = directory_changes_;
  return true;
}

// As sync_current(), but appending goes on meanwhile.
base::Status Journal::sync() {
  std::unique_lock lock(mutex_);
  paused_ = false;
  if (off_) return trouble();
  if (options_.durability == Durability::kNone) return base::ok();
  if (!durable_) return trouble();
  const std::shared_ptr<Current> current = current_;
  const bool unsynced = current != nullptr && current->synced < current->tail;
  if (unsynced) current->tail = base::align_up(current->tail, kSectorBytes);
  const std::uint64_t tail = unsynced ? current->tail : 0;
  const std::uint64_t changes = directory_changes_;
  const bool changed = directory_synced_ < changes;
  if (unsynced) ++stats_.syncs;
  lock.unlock();

  int error = unsynced ? sync_file(files_, current->file.get()) : 0;
  if (error >= 0 && changed) error = files_.sync_directory(options_.directory);

  lock.lock();
  if (error < 0) {
    never_durable_again("sync the result cache", error);
    return trouble();
  }
  if (unsynced) current->synced = std::max(current->synced, tail);
  directory_synced_ = std::max(directory_synced_, changes);
  return durable_ ? base::ok() : base::Status(trouble());
}

JournalStats Journal::stats() const {
  const std::lock_guard lock(mutex_);
  JournalStats stats = stats_;
  stats.bytes = inventory_.bytes();
  stats.segments = inventory_.segments.size();
  stats.set_aside = inventory_.set_aside.size();
  return stats;
}

void Journal::degrade(const std::string& doing, int error) {
  paused_ = true;
  if (stats_.degraded) return;  // said before
  stats_.degraded = true;
  stats_.reason = "cannot " + doing + ": " + base::errno_text(-error);
  base::log_warn("The result cache on disk is degraded: answers are kept in memory only",
                 {{"directory", options_.directory}, {"reason", stats_.reason}});
}

// A sync that failed has dropped what it could not write, and the next one would not say so: there
// is no way to know what the disk holds.
void Journal::never_durable_again(const std::string& doing, int error) {
  if (!durable_) return;  // said before
  durable_ = false;
  stats_.degraded = true;
  stats_.reason = "cannot " + doing + ": " + base::errno_text(-error);
  base::log_error("The disk failed to keep the result cache: nothing is durable until a restart",
                  {{"directory", options_.directory}, {"reason", stats_.reason}});
}

base::Error Journal::trouble() const {
  return base::Error{base::Code::kUnavailable,
                     "the result cache on disk is degraded: " +
                         (stats_.reason.empty() ? "it was not written" : stats_.reason)};
}

std::string Journal::path_of(const std::string& name) const {
  return options_.directory + "/" + name;
}

}  // namespace nacelle::cache
