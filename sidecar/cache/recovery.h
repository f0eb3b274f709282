// What a start finds in a journal's directory, and the way back of its records.
//
// Nothing in the directory can make a start fail: a file that is no segment is left alone, a
// damaged one is removed, one of another version is set aside.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sidecar/cache/entry.h"
#include "sidecar/cache/files.h"
#include "sidecar/cache/journal_format.h"

namespace nacelle::cache {

// Who takes the records back, in the order in which they were written: later ones overrule. The
// functions must not call the journal. An entry's bytes are valid during the call.
struct Replay {
  std::function<void(const Entry&)> put;
  std::function<void(const shm::CacheKey&)> erase;
  // Every key, or every one of a service.
  std::function<void(std::optional<std::uint32_t> service)> purge;
};

// A file of the journal that takes room.
struct SegmentFile {
  std::string name;
  std::uint64_t sequence = 0;
  std::uint64_t bytes = 0;  // its size
  bool readable = false;  // its header is good; else it is there only since it could not be removed
  SegmentId id{};
};

struct Inventory {
  std::vector<SegmentFile> segments;   // by sequence
  std::vector<SegmentFile> set_aside;  // by sequence
  std::uint64_t sequence_next = 1;     // above every one that was met
  std::uint64_t damaged = 0;           // files that were removed
  bool renamed = false;                // something was set aside now: sync the directory
  [[nodiscard]] std::uint64_t bytes() const;
};

inline constexpr std::size_t kNamesMax = 100'000;  // in one directory

// Looks at every name, removes the damaged segments, and sets those of another version aside, in
// the place of what was set aside before. An errno's negative when the directory cannot be listed.
int take_inventory(Files& files, const std::string& directory, Inventory& inventory);

struct Replayed {
  std::uint64_t records = 0;
  std::uint64_t bytes = 0;       // read
  std::uint64_t damaged = 0;     // records with a damaged value
  std::uint64_t unreadable = 0;  // segments that could not be read to their end
};

// Replays the segments. Reads on a thread of its own when there is much; `replay` is called on this
// one. What is empty behind the last record is cut off the files, and files without any record are
// removed: both shrink `segments`.
Replayed replay_segments(Files& files, const std::string& directory,
                         std::vector<SegmentFile>& segments, const Replay& replay);

}  // namespace nacelle::cache
