// What clients hit without asking anybody: each writes it into a page of its own, and here the
// pages are read. A page's bytes may be anything: a count that leaps, a slot that is not there, a
// tag that is another's. Then they say nothing, or at worst that something is popular.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "shm/cache_layout.h"
#include "shm/region.h"
#include "sidecar/base/fd.h"
#include "sidecar/base/result.h"
#include "sidecar/cache/index.h"

namespace nacelle::cache {

// As clients tell of themselves, since the start, of those that are gone, too.
struct ReaderCounts {
  std::array<std::uint64_t, shm::kCacheSources> hits{};  // by source
  std::uint64_t misses = 0;
  std::uint64_t saved_ns = 0;
  std::uint64_t touches = 0;
  std::uint64_t touches_lost = 0;  // overwritten before they were read
};

// What was last read of a lane: its line, but for what is reserved there.
using TouchLine = std::array<std::uint64_t, offsetof(shm::TouchLane, reserved) / 8>;

class Touches {
 public:
  // `lines` is the caller's memory: `lanes` of them for each reader that there can be.
  Touches(std::uint32_t lanes, std::uint32_t ring, std::span<TouchLine> lines);

  // A new page, zero, for a client to write. kBusy when there are as many as there can be;
  // kUnavailable when the kernel refuses.
  base::Result<base::Fd> add();
  // No more of this page: `fd` is what add() gave, or a duplicate of it. Drain before, or lose its
  // last touches. Another descriptor is no page of ours, and nothing happens.
  void remove(int fd);
  // Reads what is new on all pages, and counts it in `index`: at most a ring for each lane.
  void drain(Index& index, std::uint8_t popularity_max);

  [[nodiscard]] std::size_t readers() const { return count_; }
  [[nodiscard]] const ReaderCounts& counts() const { return counts_; }

 private:
  struct Reader {
    std::uint64_t inode = 0;
    shm::Mapping page;  // empty: no such reader
  };
  void drain_lane(const shm::Untrusted& page, std::uint64_t offset, TouchLine& seen, Index& index,
                  std::uint8_t popularity_max);

  std::uint32_t lanes_;
  std::uint32_t ring_;
  std::span<TouchLine> lines_;
  std::vector<Reader> readers_;  // as many as there can be
  std::size_t count_ = 0;
  ReaderCounts counts_;
};

}  // namespace nacelle::cache
