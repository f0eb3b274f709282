#include "sidecar/cache/touches.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include "sidecar/base/file.h"

namespace nacelle::cache {
namespace {

// What a client cannot have counted since the page was last read: it then does not count at all.
constexpr std::uint64_t kHitsMax = 1ULL << 40;
constexpr std::uint64_t kSavedMax = 1ULL << 60;

void count(std::uint64_t& total, std::uint64_t now, std::uint64_t& seen, std::uint64_t most) {
  const std::uint64_t more = now - std::exchange(seen, now);
  if (more <= most) total += more;
}

}  // namespace

Touches::Touches(std::uint32_t lanes, std::uint32_t ring, std::span<TouchLine> lines)
    : lanes_(lanes), ring_(ring), lines_(lines), readers_(lines.size() / lanes) {}

base::Result<base::Fd> Touches::add() {
  const auto free = std::find_if(readers_.begin(), readers_.end(),
                                 [](const Reader& reader) { return reader.page.size() == 0; });
  if (free == readers_.end()) {
    return base::Error{base::Code::kBusy,
                       "all " + std::to_string(readers_.size()) + " touch pages are in use"};
  }
  const std::uint64_t size = shm::touch_page_size(lanes_, ring_);
  auto fd = shm::create_region("nacelle-touches", size);
  if (!fd) return fd.error();
  auto page = shm::Mapping::map(fd->get(), size, shm::Access::kRead);
  if (!page) return page.error();
  const base::Status sealed = shm::seal_for_clients_to_write(fd->get());
  if (!sealed) return sealed.error();
  struct stat status {};
  if (::fstat(fd->get(), &status) != 0) {
    return base::Error{base::Code::kUnavailable,
                       "cannot look at a touch page: " + base::errno_text(errno)};
  }
  free->inode = status.st_ino;
  free->page = *std::move(page);
  const auto number = static_cast<std::size_t>(free - readers_.begin());
  const auto lines = lines_.subspan(number * lanes_, lanes_);
  std::fill(lines.begin(), lines.end(), TouchLine{});
  ++count_;
  return fd;
}

void Touches::remove(int fd) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return;
  for (Reader& reader : readers_) {
    if (reader.page.size() == 0 || reader.inode != status.st_ino) continue;
    reader = Reader{};
    --count_;
  }
}

void Touches::drain(Index& index, std::uint8_t popularity_max) {
  for (std::size_t number = 0; number < readers_.size(); ++number) {
    const Reader& reader = readers_[number];
    if (reader.page.size() == 0) continue;
    const shm::Untrusted page({reader.page.data(), reader.page.size()});
    for (std::uint32_t lane = 0; lane < lanes_; ++lane) {
      drain_lane(page, lane * shm::touch_lane_size(ring_), lines_[number * lanes_ + lane], index,
                 popularity_max);
    }
  }
}

void Touches::drain_lane(const shm::Untrusted& page, std::uint64_t offset, TouchLine& seen,
                         Index& index, std::uint8_t popularity_max) {
  TouchLine now;
  // The count of touches first: the touches themselves are there when it is.
  for (std::size_t i = 0; i < now.size(); ++i) now[i] = page.load_u64(offset + 8 * i);
  const std::uint64_t before = seen[0];
  const std::uint64_t more = std::min<std::uint64_t>(now[0] - before, ring_);
  for (std::uint64_t i = now[0] - more; i != now[0]; ++i) {
    const std::uint64_t touch =
        page.load_u64(offset + sizeof(shm::TouchLane) + 8 * (i & (ring_ - 1)));
    const std::uint64_t slot = touch & shm::kPlaceMask;
    if (slot >= index.slots()) continue;
    const std::uint64_t word = index.word(static_cast<std::uint32_t>(slot));
    if (word == 0 || shm::tag_of(word) != shm::tag_of(touch)) continue;
    index.touch(static_cast<std::uint32_t>(slot), popularity_max);
  }
  counts_.touches += more;
  if (now[0] - before <= kHitsMax) counts_.touches_lost += now[0] - before - more;
  seen[0] = now[0];
  for (std::size_t i = 0; i < counts_.hits.size(); ++i) {
    count(counts_.hits[i], now[1 + i], seen[1 + i], kHitsMax);
  }
  constexpr std::size_t kMisses = offsetof(shm::TouchLane, misses) / 8;
  count(counts_.misses, now[kMisses], seen[kMisses], kHitsMax);
  count(counts_.saved_ns, now[kMisses + 1], seen[kMisses + 1], kSavedMax);
}

}  // namespace nacelle::cache
