#include "shm/cache_reader.h"

#include <sys/stat.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "shm/cache_clock.h"
#include "shm/cache_copy.h"
#include "sidecar/base/file.h"

namespace nacelle::shm {
namespace {

base::Error wrong(const std::string& what) {
  return {base::Code::kInvalid, "the cache region is not as it should be: " + what};
}

// Each thread's number, for its lane.
std::uint32_t thread_number() {
  static std::atomic<std::uint32_t> threads{0};
  thread_local const std::uint32_t number = threads.fetch_add(1, std::memory_order_relaxed);
  return number;
}

// One more, of a word that only this lane's threads write: see TouchLane.
void add(std::atomic<std::uint64_t>& count, std::uint64_t more) {
  count.store(count.load(std::memory_order_relaxed) + more, std::memory_order_relaxed);
}

base::Result<Mapping> map_all(const base::Fd& fd, Access access) {
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0 || status.st_size <= 0) {
    return wrong("its size cannot be read");
  }
  return Mapping::map(fd.get(), static_cast<std::uint64_t>(status.st_size), access);
}

}  // namespace

base::Result<std::unique_ptr<CacheReader>> CacheReader::open(base::Fd region, base::Fd touches) {
  std::unique_ptr<CacheReader> reader(new CacheReader());
  auto mapped = map_all(region, Access::kRead);
  if (!mapped) return mapped.error();
  reader->region_ = *std::move(mapped);
  const base::Status checked = reader->check();
  if (!checked) return checked.error();
  const auto offset = monotonic_offset_ns();
  if (!offset) return offset.error();
  reader->clock_offset_ = reader->header_->monotonic_offset_ns - *offset;
  if (touches) {
    auto page = map_all(touches, Access::kReadWrite);
    if (!page) return page.error();
    if (page->size() < touch_page_size(reader->lanes_, reader->ring_)) {
      return wrong("the touch page has " + std::to_string(page->size()) + " bytes");
    }
    reader->touches_ = *std::move(page);
  }
  return reader;
}

// The header, and that all of it lies in the region.
base::Status CacheReader::check() {
  const std::uint64_t size = region_.size();
  if (size < sizeof(CacheHeader)) return wrong("it has " + std::to_string(size) + " bytes");
  const auto* header = reinterpret_cast<const CacheHeader*>(region_.data());
  if (std::memcmp(header->magic, kCacheMagic, sizeof kCacheMagic) != 0) {
    return wrong("it does not begin as one");
  }
  if (header->version_major != kCacheVersionMajor) {
    return base::Error{base::Code::kVersionMismatch,
                       "the sidecar's cache has version " + std::to_string(header->version_major) +
                           ", this library reads version " + std::to_string(kCacheVersionMajor)};
  }
  const std::uint64_t segments = header->segment_count;
  const std::uint32_t shift = header->segment_shift;
  if (header->region_size != size || size > kCacheRegionMax || header->bucket_count == 0 ||
      header->bucket_count > kBucketsMax || segments == 0 || segments > kSegmentsMax ||
      shift < kSegmentShiftMin || shift > kSegmentShiftMax ||
      header->index_offset % kCacheLine != 0 || header->epochs_offset % 8 != 0 ||
      header->data_offset % kCacheGrain != 0 ||
      !base::fits(header->index_offset, header->bucket_count * sizeof(CacheBucket), size) ||
      !base::fits(header->epochs_offset, segments * 8, size) ||
      !base::fits(header->data_offset, segments << shift, size)) {
    return wrong("its parts do not fit into its " + std::to_string(size) + " bytes");
  }
  if (!std::has_single_bit(header->touch_lanes) || header->touch_lanes > kTouchLanesMax ||
      !std::has_single_bit(header->touch_ring) || header->touch_ring > kTouchRingMax) {
    return wrong("it asks for touch pages that cannot be");
  }
  header_ = header;
  buckets_ = reinterpret_cast<const CacheBucket*>(region_.data() + header->index_offset);
  epochs_ =
      reinterpret_cast<const std::atomic<std::uint64_t>*>(region_.data() + header->epochs_offset);
  bucket_count_ = header->bucket_count;
  data_offset_ = header->data_offset;
  segment_count_ = segments;
  segment_shift_ = shift;
  value_max_ = header->entry_bytes_max;
  lanes_ = header->touch_lanes;
  ring_ = header->touch_ring;
  return base::ok();
}

bool CacheReader::get(const CacheKey& key, std::span<std::byte> head,
                      std::span<std::byte> body) const {
  CacheTimes now = coarse_times();
  now.mono += clock_offset_;
  return get(key, head, body, now);
}

bool CacheReader::get(const CacheKey& key, std::span<std::byte> head, std::span<std::byte> body,
                      CacheTimes now) const {
  const CacheSpots spots = spots_of(key, bucket_count_);
  __builtin_prefetch(&buckets_[spots.buckets[1]]);
  const Out out{head, body};
  CacheEntry entry;
  std::size_t at = 0;
  for (int attempt = 0; attempt < kCacheTries; ++attempt) {
    bool doubt = false;
    for (const std::uint64_t bucket : spots.buckets) {
      const Look look = look_in_bucket(buckets_[bucket], spots.tag, key, out, now, entry, at);
      if (look == Look::kHit) {
        hit(spots.tag, slot_of(bucket, at), entry);
        return true;
      }
      doubt = doubt || look == Look::kDoubt;
    }
    if (!doubt) break;
  }
  missed();
  return false;
}

CacheReader::Look CacheReader::look_in_bucket(const CacheBucket& bucket, std::uint64_t tag,
                                              const CacheKey& key, const Out& out, CacheTimes now,
                                              CacheEntry& entry, std::size_t& at) const {
  Look found = Look::kOther;
  for (std::size_t i = 0; i < kBucketWords; ++i) {
    // acquire: pairs with Index::publish, the entry's bytes are there with its word.
    const std::uint64_t word = bucket.words[i].load(std::memory_order_acquire);
    if (tag_of(word) != tag || word == 0) continue;
    const Look look = look_at(bucket.words[i], word, key, out, now, entry);
    at = i;
    if (look == Look::kHit) return look;
    if (look == Look::kDoubt) found = look;
  }
  return found;
}

// The entry that `word` leads to, which was loaded from `place`.
//
// Why a hit is the whole value of one entry: at the second load of `place` the entry was published
// in its segment's life `epoch`, since a segment begins a new life only after all words that led
// into the one before are gone, and its epoch is stored with release behind that. So at that moment
// all of the entry's bytes were there; and while the epoch stays, they stay.
CacheReader::Look CacheReader::look_at(const std::atomic<std::uint64_t>& place, std::uint64_t word,
                                       const CacheKey& key, const Out& out, CacheTimes now,
                                       CacheEntry& entry) const {
  const std::uint64_t size = out.head.size() + out.body.size();
  const std::uint64_t offset = offset_of(word);
  const std::uint64_t segment = (offset - data_offset_) >> segment_shift_;
  if (offset < data_offset_ || segment >= segment_count_ || size > value_max_) return Look::kOther;
  const std::uint64_t segment_end = data_offset_ + ((segment + 1) << segment_shift_);
  // An entry with a value of this size would not fit there: it is another one.
  if (!base::fits(offset, sizeof(CacheEntry) + size, segment_end)) return Look::kOther;

  // acquire: pairs with the release in Segments::take; the words of the segment's life before are
  // gone for the load below.
  const std::uint64_t epoch = epochs_[segment].load(std::memory_order_acquire);
  if ((epoch & 1) != 0) return Look::kDoubt;
  // acquire: pairs with Index::publish, the entry's bytes are there with its word. Without this
  // second load the word may be of the segment's life before, and the bytes half written.
  if (place.load(std::memory_order_acquire) != word) return Look::kDoubt;

  const std::byte* from = region_.data() + offset;
  copy_from_segment(&entry, from, sizeof entry);
  const bool ours = entry.key == key && entry.value_size == size && is_fresh(entry, now) &&
                    entry.source < kCacheSources;
  if (ours) {
    from += sizeof entry;
    copy_from_segment(out.head.data(), from, out.head.size());
    copy_from_segment(out.body.data(), from + out.head.size(), out.body.size());
  }
  after_copies_from();
  if (epochs_[segment].load(std::memory_order_relaxed) != epoch) return Look::kDoubt;
  return ours ? Look::kHit : Look::kOther;
}

// acquire: what the sidecar tells after the new number is told to who has seen it.
std::uint64_t CacheReader::generation() const {
  return header_->generation.load(std::memory_order_acquire);
}

TouchLane* CacheReader::lane() const {
  if (touches_.data() == nullptr) return nullptr;
  const std::uint64_t number = thread_number() & (lanes_ - 1);
  return reinterpret_cast<TouchLane*>(touches_.data() + number * touch_lane_size(ring_));
}

void CacheReader::hit(std::uint64_t tag, std::uint32_t slot, const CacheEntry& entry) const {
  TouchLane* mine = lane();
  if (mine == nullptr) return;
  add(mine->hits[entry.source], 1);
  add(mine->saved_ns, entry.compute_ns);
  auto* ring = reinterpret_cast<std::atomic<std::uint64_t>*>(mine + 1);
  const std::uint64_t touches = mine->touches.load(std::memory_order_relaxed);
  ring[touches & (ring_ - 1)].store(touch_word(tag, slot), std::memory_order_relaxed);
  // release: the word is there before the count that announces it.
  mine->touches.store(touches + 1, std::memory_order_release);
}

void CacheReader::missed() const {
  TouchLane* mine = lane();
  if (mine != nullptr) add(mine->misses, 1);
}

}  // namespace nacelle::shm
