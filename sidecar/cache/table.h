// The result cache of one domain of trust, in memory: region C, which the domain's clients map and
// read by themselves, and the private books about it. One thread at a time; readers in other
// processes are never waited for and never see half an entry, however this process ends.
//
//   auto table = *Table::create({.memory_bytes = 64 << 20});
//   table->put({key, head, body, {.ttl_s = 3600}, wall}, now);
//   hand_out(table->fd(), *table->add_reader());      // to a CacheReader in the client
//
// What is put may be gone at once: it is a cache. What is got is what was put under that key, byte
// for byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "shm/region.h"
#include "sidecar/base/fd.h"
#include "sidecar/base/result.h"
#include "sidecar/cache/entry.h"
#include "sidecar/cache/geometry.h"
#include "sidecar/cache/ghost.h"
#include "sidecar/cache/index.h"
#include "sidecar/cache/segments.h"
#include "sidecar/cache/touches.h"

namespace nacelle::cache {

// Counts are since the start.
struct TableStats {
  // Now.
  std::uint64_t entries = 0;
  std::uint64_t slots = 0;     // of the index
  std::uint64_t segments = 0;  // all, and of these:
  std::uint64_t segments_free = 0;
  std::uint64_t segments_probation = 0;
  std::uint64_t segments_main = 0;
  std::uint64_t segment_bytes = 0;  // of each
  std::uint64_t readers = 0;
  std::uint64_t generation = 0;
  // Bytes, together never more than configured. Touch pages: of all readers there can be.
  std::uint64_t region_bytes = 0;
  std::uint64_t book_bytes = 0;
  std::uint64_t touch_bytes = 0;
  // What put() was given.
  std::uint64_t puts = 0;
  std::uint64_t replaced = 0;   // there was one of the same key
  std::uint64_t recalled = 0;   // went to main at once: dropped not long ago
  std::uint64_t too_large = 0;  // not kept
  std::uint64_t stale = 0;      // not kept: expired, or made in the future
  // What became of entries.
  std::uint64_t promoted = 0;  // from probation to main
  std::uint64_t carried = 0;   // stayed in main for another round
  std::uint64_t evicted = 0;   // dropped for room
  std::uint64_t expired = 0;
  std::uint64_t crowded_out = 0;  // the index was full where they were
  std::uint64_t invalidated = 0;
  std::uint64_t segments_evicted = 0;
  // get() of this process, and its clients' own.
  std::uint64_t hits = 0;
  std::uint64_t misses = 0;
  ReaderCounts readers_total;
};

class Table {
 public:
  // Allocates all of its memory. kInvalid for options that cannot be, kUnavailable when the kernel
  // has not the memory or does not tell the clock's namespace.
  static base::Result<std::unique_ptr<Table>> create(const TableOptions& options);
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;
  ~Table() = default;

  // Keeps a copy of `entry`, in place of what was there under its key. False when it is not kept:
  // larger than entry_bytes_max, expired already, or made more than a second in the future. May
  // free segments for it, and copies what is popular in them: at most some twelve segments' worth.
  bool put(const Entry& entry, Times now);

  // Copies the value under `key` to `head` and then `body`, which must have exactly its size.
  // False: a miss. Counts as a hit of that entry.
  bool get(const shm::CacheKey& key, std::span<std::byte> head, std::span<std::byte> body,
           Times now);

  // Whether the entry of this key is the one that was made then.
  [[nodiscard]] bool holds(const shm::CacheKey& key, std::int64_t created_wall_ns) const;

  // Reads what clients have hit and frees what has expired. put() does the same when it needs room;
  // call it about every second.
  void maintain(Times now);

  // Region C, to hand out to the domain's clients; nobody else can write it. Owned by the table.
  [[nodiscard]] int fd() const { return fd_.get(); }
  // A touch page for a new client, to hand out beside it. kBusy when there are readers_max.
  base::Result<base::Fd> add_reader() { return touches_.add(); }
  // The client of that page is gone. `fd`: what add_reader() gave, or a duplicate.
  void remove_reader(int fd);

  // Takes answers back: no get() that begins after these return finds them. One key; false when it
  // was not there.
  bool invalidate(const shm::CacheKey& key);
  // All of a service, or all: looks at every entry. How many; and the generation grows, so that
  // clients ask anew for what they know of services.
  std::uint64_t invalidate_service(std::uint32_t service);
  std::uint64_t invalidate_all();
  [[nodiscard]] std::uint64_t generation() const;

  // An entry where it lies; the spans are valid until the next call of the table.
  struct Seen {
    Entry entry;
    std::uint8_t popularity = 0;  // hits of late, up to 15
    base::Nanos expires_mono = 0;
  };
  // Looks at `most` slots from number `from` on, and calls `see` for each entry in them. The slot
  // to go on at; slots() at the end. An entry stays in its slot, so one that is there all the while
  // is seen exactly once, whatever else happens between the calls. Of those that have expired, too.
  std::uint32_t visit(std::uint32_t from, std::uint32_t most,
                      const std::function<void(const Seen&)>& see) const;
  [[nodiscard]] std::uint32_t slots() const { return static_cast<std::uint32_t>(index_.slots()); }

  [[nodiscard]] TableStats stats() const;

 private:
  Table(base::Fd fd, shm::Mapping region, shm::Mapping books, const TableOptions& options,
        const Geometry& geometry);
  [[nodiscard]] shm::CacheHeader& header() const;
  [[nodiscard]] const shm::CacheEntry& entry_at(std::uint64_t offset) const;
  std::uint64_t make_room(Queue queue, std::size_t ttl_class, std::uint64_t size, Times now);
  void evict(std::uint32_t segment, bool gentle, Times now);
  void drop_all(std::uint32_t segment);
  template <typename Body>
  void for_each_live(std::uint32_t segment, const Body& body);

  base::Fd fd_;
  shm::Mapping region_;
  shm::Mapping books_;
  TableOptions options_;
  Geometry geometry_;
  Index index_;
  Segments segments_;
  Ghost ghost_;
  Touches touches_;
  TableStats stats_;  // what is counted; stats() adds what is now
};

}  // namespace nacelle::cache
