#include "sidecar/cache/table.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <new>
#include <optional>
#include <utility>

#include "shm/cache_clock.h"
#include "shm/cache_copy.h"
#include "sidecar/base/check.h"
#include "sidecar/cache/policy.h"

namespace nacelle::cache {
namespace {

// `count` objects at an offset of zeroed memory.
template <typename T>
std::span<T> objects(const shm::Mapping& memory, std::uint64_t offset, std::uint64_t count) {
  CHECK(base::fits(offset, count * sizeof(T), memory.size()) && offset % alignof(T) == 0);
  return {reinterpret_cast<T*>(memory.data() + offset), count};
}

// How much longer the entry may be served; 0 or less: not at all.
base::Nanos time_left(const Entry& entry, Times now) {
  const std::int64_t ttl = std::int64_t{entry.attributes.ttl_s} * base::kSecond;
  std::int64_t age = 0;
  if (__builtin_sub_overflow(now.wall_ns, entry.created_wall_ns, &age)) return 0;
  if (age < -shm::kFutureSlack) return 0;
  return ttl - std::max<std::int64_t>(age, 0);
}

base::Nanos later(base::Nanos now, base::Nanos by) {
  base::Nanos sum = 0;
  return __builtin_add_overflow(now, by, &sum) ? std::numeric_limits<base::Nanos>::max() : sum;
}

}  // namespace

base::Result<std::unique_ptr<Table>> Table::create(const TableOptions& options) {
  const auto geometry = plan_geometry(options);
  if (!geometry) return geometry.error();
  const auto clock = shm::monotonic_offset_ns();
  if (!clock) return clock.error();
  auto fd = shm::create_region("nacelle-cache", geometry->region_bytes);
  if (!fd) return fd.error();
  auto region = shm::Mapping::map(fd->get(), geometry->region_bytes, shm::Access::kReadWrite);
  if (!region) return region.error();
  auto books = shm::Mapping::anonymous(geometry->book_bytes);
  if (!books) return books.error();

  auto* header = new (region->data()) shm::CacheHeader{};
  header->version_major = shm::kCacheVersionMajor;
  header->version_minor = shm::kCacheVersionMinor;
  header->header_size = sizeof(shm::CacheHeader);
  header->region_size = geometry->region_bytes;
  header->index_offset = geometry->index_offset;
  header->bucket_count = geometry->buckets;
  header->epochs_offset = geometry->epochs_offset;
  header->data_offset = geometry->data_offset;
  header->segment_count = geometry->segments;
  header->segment_shift = geometry->segment_shift;
  header->monotonic_offset_ns = *clock;
  header->touch_lanes = geometry->touch_lanes;
  header->touch_ring = geometry->touch_ring;
  header->entry_bytes_max = options.entry_bytes_max;
  header->generation.store(1, std::memory_order_relaxed);
  std::memcpy(header->magic, shm::kCacheMagic, sizeof shm::kCacheMagic);

  std::unique_ptr<Table> table(
      new Table(*std::move(fd), *std::move(region), *std::move(books), options, *geometry));
  const base::Status sealed = shm::seal_against_writers(table->fd_.get());
  if (!sealed) return sealed.error();
  return table;
}

Table::Table(base::Fd fd, shm::Mapping region, shm::Mapping books, const TableOptions& options,
             const Geometry& geometry)
    : fd_(std::move(fd)),
      region_(std::move(region)),
      books_(std::move(books)),
      options_(options),
      geometry_(geometry),
      index_({region_.data(), region_.size()},
             objects<shm::CacheBucket>(region_, geometry.index_offset, geometry.buckets),
             objects<std::uint8_t>(books_, geometry.popularity_offset, geometry.slots())),
      segments_(
          objects<std::byte>(region_, geometry.data_offset,
                             std::uint64_t{geometry.segments} << geometry.segment_shift),
          geometry.data_offset,
          objects<std::atomic<std::uint64_t>>(region_, geometry.epochs_offset, geometry.segments),
          objects<SegmentBook>(books_, geometry.segment_books_offset, geometry.segments),
          geometry.segment_shift),
      ghost_(objects<std::uint32_t>(books_, geometry.ghost_offset, geometry.slots())),
      touches_(geometry.touch_lanes, geometry.touch_ring,
               objects<TouchLine>(books_, geometry.touch_lines_offset,
                                  std::uint64_t{options.readers_max} * geometry.touch_lanes)) {}

shm::CacheHeader& Table::header() const {
  return *reinterpret_cast<shm::CacheHeader*>(region_.data());
}

const shm::CacheEntry& Table::entry_at(std::uint64_t offset) const {
  return *reinterpret_cast<const shm::CacheEntry*>(region_.data() + offset);
}

std::uint64_t Table::generation() const {
  return header().generation.load(std::memory_order_relaxed);
}

// ---- put and get ----

bool Table::put(const Entry& entry, Times now) {
  ++stats_.puts;
  const std::uint64_t value = entry.head.size() + entry.body.size();
  if (value > options_.entry_bytes_max || entry.head.size() > UINT16_MAX) {
    ++stats_.too_large;
    return false;
  }
  const base::Nanos left = time_left(entry, now);
  if (left <= 0) {
    ++stats_.stale;
    return false;
  }
  const shm::CacheEntry fields{.key = entry.key,
                               .expires_mono_ns = later(now.mono, left),
                               .created_wall_ns = entry.created_wall_ns,
                               .compute_ns = entry.attributes.compute_ns,
                               .ttl_s = entry.attributes.ttl_s,
                               .value_size = static_cast<std::uint32_t>(value),
                               .service = entry.attributes.service,
                               .head_size = static_cast<std::uint16_t>(entry.head.size()),
                               .source = static_cast<std::uint8_t>(entry.attributes.source),
                               .reserved = 0};
  const shm::CacheSpots spots = index_.spots(entry.key);
  // What was there, and where it was: known to be worth it, or still on probation.
  const std::optional<std::uint32_t> before = index_.find(entry.key, spots);
  bool worth = false;
  if (before) {
    const std::uint32_t segment = segments_.segment_at(shm::offset_of(index_.word(*before)));
    worth = segments_.book(segment).queue == Queue::kMain ||
            index_.popularity(*before) >= kPopularityPromoted;
  } else if (ghost_.recall(entry.key, index_.used())) {
    worth = true;
    ++stats_.recalled;
  }
  const Queue queue = worth ? Queue::kMain : Queue::kProbation;
  const std::size_t life = ttl_class(left);
  const std::uint64_t size = shm::entry_size(value);
  const std::uint64_t offset = make_room(queue, life, size, now);

  std::byte* to = segments_.at(offset);
  shm::copy_to_segment(to, &fields, sizeof fields);
  to += sizeof fields;
  shm::copy_to_segment(to, entry.head.data(), entry.head.size());
  shm::copy_to_segment(to + entry.head.size(), entry.body.data(), entry.body.size());
  segments_.append(queue, life, size, fields.expires_mono_ns);

  // Making room may have moved or dropped what was there.
  if (const auto slot = index_.find(entry.key, spots)) {
    index_.publish(*slot, spots, offset);
    ++stats_.replaced;
    return true;
  }
  const std::uint32_t slot = index_.choose(spots);
  if (index_.word(slot) != 0) ++stats_.crowded_out;
  index_.set_popularity(slot, 0);
  index_.publish(slot, spots, offset);
  return true;
}

bool Table::get(const shm::CacheKey& key, std::span<std::byte> head, std::span<std::byte> body,
                Times now) {
  const std::optional<std::uint32_t> slot = index_.find(key, index_.spots(key));
  if (slot) {
    const std::uint64_t offset = shm::offset_of(index_.word(*slot));
    const shm::CacheEntry& entry = entry_at(offset);
    if (entry.value_size == head.size() + body.size() && shm::is_fresh(entry, now)) {
      const std::byte* from = region_.data() + offset + sizeof entry;
      base::copy_bytes(head.data(), from, head.size());
      base::copy_bytes(body.data(), from + head.size(), body.size());
      index_.touch(*slot, kPopularityMax);
      ++stats_.hits;
      return true;
    }
  }
  ++stats_.misses;
  return false;
}

bool Table::holds(const shm::CacheKey& key, std::int64_t created_wall_ns) const {
  const std::optional<std::uint32_t> slot = index_.find(key, index_.spots(key));
  return slot && entry_at(shm::offset_of(index_.word(*slot))).created_wall_ns == created_wall_ns;
}

// ---- making room ----

// Calls `body` with the fields, the spots, the slot and the place of each entry that is in the
// index. It may move or clear the one that it is called for.
template <typename Body>
void Table::for_each_live(std::uint32_t segment, const Body& body) {
  const std::uint64_t begin = segments_.offset(segment);
  const std::uint64_t end = begin + segments_.book(segment).used;
  for (std::uint64_t offset = begin; offset < end;) {
    const shm::CacheEntry& entry = entry_at(offset);
    const shm::CacheSpots spots = index_.spots(entry.key);
    const auto slot = index_.find_at(spots, offset);
    const std::uint64_t size = shm::entry_size(entry.value_size);
    if (slot) body(entry, spots, *slot, offset);
    offset += size;
  }
}

// Where in region C an entry of `size` bytes goes. One segment more than that is always left free,
// for what is carried over from the next one that is evicted.
std::uint64_t Table::make_room(Queue queue, std::size_t ttl_class, std::uint64_t size, Times now) {
  // Each round takes a segment in, or frees one that is on probation too long; or one of main, all
  // but what is popular there, and after the gentle ones at least a quarter of it.
  const std::uint32_t rounds_max = 2 * segments_.size() + 16;
  for (std::uint32_t round = 0; round < rounds_max; ++round) {
    if (const auto offset = segments_.room(queue, ttl_class, size)) return *offset;
    if (segments_.free_count() >= 2) {
      segments_.take(queue, ttl_class);
      continue;
    }
    if (round == 0) maintain(now);
    if (segments_.free_count() < 2) evict(choose_victim(segments_), round < kGentleRounds, now);
  }
  CHECK(false);  // a table can always be emptied
  return 0;
}

// Frees a segment. What is popular in it goes on to the main queue: to its open segment, and when
// that is full to one more, which must be free.
void Table::evict(std::uint32_t segment, bool gentle, Times now) {
  CHECK(segment != kNoSegment && segments_.free_count() > 0);
  segments_.close(segment);
  const SegmentBook book = segments_.book(segment);
  std::uint32_t from = book.queue == Queue::kMain ? 1 : kPopularityPromoted;
  if (book.queue == Queue::kMain && !gentle) {
    BytesByPopularity bytes{};
    for_each_live(segment, [&](const shm::CacheEntry& entry, const shm::CacheSpots& /*spots*/,
                               std::uint32_t slot, std::uint64_t /*offset*/) {
      if (shm::is_fresh(entry, now)) {
        bytes[index_.popularity(slot)] += shm::entry_size(entry.value_size);
      }
    });
    from = carried_from(bytes, segments_.bytes());
  }
  for_each_live(segment, [&](const shm::CacheEntry& entry, const shm::CacheSpots& spots,
                             std::uint32_t slot, std::uint64_t offset) {
    const std::uint8_t popularity = index_.popularity(slot);
    if (!shm::is_fresh(entry, now)) {
      ++stats_.expired;
      index_.clear(slot);
      return;
    }
    if (popularity < from) {
      ++stats_.evicted;
      ghost_.remember(entry.key);
      index_.clear(slot);
      return;
    }
    const std::uint64_t size = shm::entry_size(entry.value_size);
    auto to = segments_.room(Queue::kMain, book.ttl_class, size);
    if (!to) {
      segments_.take(Queue::kMain, book.ttl_class);
      to = segments_.room(Queue::kMain, book.ttl_class, size);
    }
    shm::copy_to_segment(segments_.at(*to), segments_.at(offset), size);
    segments_.append(Queue::kMain, book.ttl_class, size, entry.expires_mono_ns);
    index_.publish(slot, spots, *to);
    index_.set_popularity(slot, after_round(popularity));
    ++(book.queue == Queue::kMain ? stats_.carried : stats_.promoted);
  });
  ++stats_.segments_evicted;
  segments_.give_back(segment);
}

// Clears what leads into a segment, and frees it.
void Table::drop_all(std::uint32_t segment) {
  for_each_live(segment, [&](const shm::CacheEntry& /*entry*/, const shm::CacheSpots& /*spots*/,
                             std::uint32_t slot, std::uint64_t /*offset*/) { index_.clear(slot); });
  segments_.give_back(segment);
}

void Table::maintain(Times now) {
  touches_.drain(index_, kPopularityMax);
  for (std::uint32_t segment = 0; segment < segments_.size(); ++segment) {
    if (!segments_.expired(segment, now.mono)) continue;
    const std::uint64_t before = index_.used();
    drop_all(segment);
    stats_.expired += before - index_.used();
  }
}

void Table::remove_reader(int fd) {
  touches_.drain(index_, kPopularityMax);
  touches_.remove(fd);
}

// ---- taking answers back ----

bool Table::invalidate(const shm::CacheKey& key) {
  const auto slot = index_.find(key, index_.spots(key));
  if (!slot) return false;
  index_.clear(*slot);
  ++stats_.invalidated;
  return true;
}

std::uint64_t Table::invalidate_service(std::uint32_t service) {
  const std::uint64_t before = index_.used();
  for (std::uint32_t segment = 0; segment < segments_.size(); ++segment) {
    if (segments_.book(segment).free) continue;
    for_each_live(segment, [&](const shm::CacheEntry& entry, const shm::CacheSpots& /*spots*/,
                               std::uint32_t slot, std::uint64_t /*offset*/) {
      if (entry.service == service) index_.clear(slot);
    });
  }
  // release: who sees the new number does not find the entries any more.
  header().generation.fetch_add(1, std::memory_order_release);
  stats_.invalidated += before - index_.used();
  return before - index_.used();
}

std::uint64_t Table::invalidate_all() {
  const std::uint64_t before = index_.used();
  for (std::uint32_t segment = 0; segment < segments_.size(); ++segment) {
    if (!segments_.book(segment).free) drop_all(segment);
  }
  header().generation.fetch_add(1, std::memory_order_release);
  stats_.invalidated += before;
  return before;
}

// ---- looking ----

std::uint32_t Table::visit(std::uint32_t from, std::uint32_t most,
                           const std::function<void(const Seen&)>& see) const {
  const std::uint32_t end = most < slots() - std::min(from, slots()) ? from + most : slots();
  for (std::uint32_t slot = from; slot < end; ++slot) {
    const std::uint64_t word = index_.word(slot);
    if (word == 0) continue;
    const std::uint64_t offset = shm::offset_of(word);
    const shm::CacheEntry& entry = entry_at(offset);
    const std::byte* value = region_.data() + offset + sizeof entry;
    see({.entry = {.key = entry.key,
                   .head = {value, entry.head_size},
                   .body = {value + entry.head_size,
                            std::size_t{entry.value_size} - entry.head_size},
                   .attributes = {.ttl_s = entry.ttl_s,
                                  .service = entry.service,
                                  .source = static_cast<Source>(entry.source),
                                  .compute_ns = entry.compute_ns},
                   .created_wall_ns = entry.created_wall_ns},
         .popularity = index_.popularity(slot),
         .expires_mono = entry.expires_mono_ns});
  }
  return end;
}

TableStats Table::stats() const {
  TableStats stats = stats_;
  stats.entries = index_.used();
  stats.slots = index_.slots();
  stats.segments = segments_.size();
  stats.segments_free = segments_.free_count();
  stats.segments_probation = segments_.count(Queue::kProbation);
  stats.segments_main = segments_.count(Queue::kMain);
  stats.segment_bytes = segments_.bytes();
  stats.readers = touches_.readers();
  stats.generation = generation();
  stats.region_bytes = geometry_.region_bytes;
  stats.book_bytes = geometry_.book_bytes;
  stats.touch_bytes = options_.readers_max * geometry_.touch_page_bytes;
  stats.readers_total = touches_.counts();
  return stats;
}

}  // namespace nacelle::cache
