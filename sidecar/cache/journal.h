// The result cache on disk: entries appended to segment files, checksummed, capped in size.
//
// What it promises: an entry that comes back is byte for byte what was appended under its key, or
// it does not come back. What append() accepted survives kill -9; with Durability::kAlways a power
// cut, too; with kInterval, a power cut after the next sync(). Opening never fails because of what
// the files hold. A disk that is full or broken costs persistence, never an answer: the journal is
// then `degraded`, says so once in the log, and goes on as soon as it can.
//
// It keeps no index and answers no lookups: the table in memory does (sidecar/cache/cache.h), and
// is filled from here at start. Format: docs/formats/cache-journal.md, journal_format.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sidecar/base/result.h"
#include "sidecar/cache/entry.h"
#include "sidecar/cache/files.h"
#include "sidecar/cache/recovery.h"

namespace nacelle::cache {

enum class Durability : std::uint8_t {
  kNone,      // the kernel writes when it likes
  kInterval,  // sync() does, whenever the caller calls it
  kAlways,    // append() returns when the disk has it
};

struct JournalOptions {
  std::string directory;        // made when it is missing, but not its parents
  std::uint64_t bytes_max = 0;  // of all files in it together; at least kJournalBytesMin
  // Of one file: a multiple of 4096, at most a quarter of bytes_max; 0 chooses one.
  std::uint64_t segment_bytes = 0;
  Durability durability = Durability::kInterval;
  // Asked about every value of a segment that is dropped for the next one's room: true carries it
  // over into the newest one. Right only for a value that its key still has. At most half a segment
  // is carried at a time. Not asked where there is no place to carry to: on a full disk, or when
  // the bound has become smaller. Must not call the journal. None: nothing is carried.
  std::function<bool(const Entry&)> keep;
};

inline constexpr std::uint64_t kSegmentBytesMin = 16 << 10;
inline constexpr std::uint64_t kSegmentBytesMax = 1ULL << 30;
inline constexpr std::uint64_t kJournalBytesMin = 4 * kSegmentBytesMin;
inline constexpr std::size_t kSegmentsMax = 1024;  // more are dropped, the oldest first

struct JournalStats {
  std::uint64_t bytes = 0;  // of all files
  std::uint64_t segments = 0;
  std::uint64_t set_aside = 0;         // files of another version
  std::uint64_t appended = 0;          // entries
  std::uint64_t lost = 0;              // entries that could not be written
  std::uint64_t too_large = 0;         // entries
  std::uint64_t carried = 0;           // entries
  std::uint64_t dropped_segments = 0;  // for room
  std::uint64_t syncs = 0;
  std::uint64_t recovered = 0;  // records, at start
  std::uint64_t recovered_bytes = 0;
  std::uint64_t damaged = 0;  // records and files that were not what was written, at start
  bool degraded = false;
  std::string reason;  // while degraded: for people
};

// append() and sync() may come from two threads; all else from one of them.
class Journal {
 public:
  // Locks the directory and replays what is in it. kInvalid for impossible options, kBusy when
  // another process has the directory, kUnavailable when there is no such directory to be had.
  static base::Result<std::unique_ptr<Journal>> open(Files& files, const JournalOptions& options,
                                                     const Replay& replay);
  // Syncs, unless durability is kNone, and gives unused room back.
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  // Writes entries; under kAlways syncs them together. An error says that some are not written, or
  // not durable (kTooLarge: some never can be); it is the journal's own affair, and counted.
  base::Status append(std::span<const Entry> entries);

  // These are durable when they return without an error, whatever the option says. With one, the
  // entries may come back at the next start.
  base::Status erase(std::span<const shm::CacheKey> keys);
  base::Status purge();
  base::Status purge_service(std::uint32_t service);

  // To be called every second or so: makes durable what was appended before (not under kNone), and
  // lets a journal that could not write try again.
  base::Status sync();

  [[nodiscard]] JournalStats stats() const;
  // Bytes of the largest value that append() takes.
  [[nodiscard]] std::uint64_t value_bytes_max() const;

 private:
  // The segment that is written. Shared with a sync() that is under way.
  struct Current {
    OpenFile file;
    SegmentId id{};
    std::uint64_t tail = kSectorBytes;  // where the next record begins
    std::uint64_t synced = 0;           // what lies before it is durable, and never written again
    std::uint64_t serial = 0;           // of the last record, written or not
  };

  Journal(Files& files, const JournalOptions& options);
  base::Status lock_directory();
  void recover(const Replay& replay);

  // Records into buffer_, and buffer_ into the current segment. False when they are not written.
  bool add(RecordHeader header, std::span<const std::byte> head, std::span<const std::byte> body);
  bool flush();
  base::Status write_durably(std::span<const RecordHeader> headers);
  bool sync_current();
  bool sync_directory();

  // journal_segments.cc: how segments begin and end. A new one may be begun when it fits below
  // bytes_max; right after, the oldest go until the next one would fit, too.
  bool roll();
  void finish_current();
  int create_segment();
  int fill_segment(int file, SegmentFile& segment);
  void carry_and_drop();
  bool carry(const SegmentFile& segment);
  [[nodiscard]] bool crowded() const;
  bool make_room();
  bool drop_oldest();

  void degrade(const std::string& doing, int error);
  void never_durable_again(const std::string& doing, int error);
  [[nodiscard]] base::Error trouble() const;
  [[nodiscard]] std::string path_of(const std::string& name) const;

  Files& files_;
  const JournalOptions options_;
  const std::uint64_t segment_bytes_;
  OpenFile lock_;

  mutable std::mutex mutex_;  // of everything below
  Inventory inventory_;       // the current segment is the last of its segments
  std::shared_ptr<Current> current_;
  std::vector<std::byte> buffer_;  // records to be written at the tail; empty between calls
  std::uint64_t buffered_ = 0;     // how many
  std::uint64_t written_ = 0;      // records, in all
  std::uint64_t directory_changes_ = 0;
  std::uint64_t directory_synced_ = 0;  // so many of these are durable
  bool paused_ = false;                 // could not write: not again before the next sync()
  bool off_ = false;                    // never writes: nobody knows what is in the directory
  bool durable_ = true;                 // no sync has failed yet
  JournalStats stats_;
};

}  // namespace nacelle::cache
