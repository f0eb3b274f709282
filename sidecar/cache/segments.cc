#include "sidecar/cache/segments.h"

#include <algorithm>
#include <bit>
#include <new>

#include "shm/cache_copy.h"
#include "sidecar/base/check.h"

namespace nacelle::cache {

std::size_t ttl_class(base::Nanos ttl) {
  const auto seconds = static_cast<std::uint64_t>(std::max<base::Nanos>(0, ttl) / base::kSecond);
  const auto bits = static_cast<std::size_t>(std::bit_width(seconds));
  if (bits <= 4) return 0;
  return std::min(kTtlClasses - 1, (bits - 3) / 2);
}

Segments::Segments(std::span<std::byte> data, std::uint64_t data_offset,
                   std::span<std::atomic<std::uint64_t>> epochs, std::span<SegmentBook> books,
                   std::uint32_t shift)
    : data_(data), data_offset_(data_offset), epochs_(epochs), books_(books), shift_(shift) {
  for (auto& queue : open_) queue.fill(kNoSegment);
  for (std::uint32_t segment = size(); segment-- > 0;) {
    new (&books_[segment]) SegmentBook{.next = free_first_};
    free_first_ = segment;
    epochs_[segment].store(1, std::memory_order_relaxed);  // nobody reads yet
  }
  free_count_ = size();
}

std::uint32_t Segments::take(Queue queue, std::size_t ttl_class) {
  CHECK(free_first_ != kNoSegment && ttl_class < kTtlClasses);
  const std::uint32_t segment = free_first_;
  SegmentBook& book = books_[segment];
  free_first_ = book.next;
  --free_count_;
  List& list = queues_[index(queue)];
  book = {.previous = list.last,
          .queue = queue,
          .ttl_class = static_cast<std::uint8_t>(ttl_class),
          .free = false};
  (list.last == kNoSegment ? list.first : books_[list.last].next) = segment;
  list.last = segment;
  ++list.count;
  open_[index(queue)][ttl_class] = segment;
  // release: pairs with the acquire in CacheReader::look_at; who sees this epoch sees that the
  // words which led into the segment before are gone.
  epochs_[segment].store(epochs_[segment].load(std::memory_order_relaxed) + 1,
                         std::memory_order_release);
  return segment;
}

void Segments::give_back(std::uint32_t segment) {
  close(segment);
  SegmentBook& book = books_[segment];
  CHECK(!book.free);
  // From here on whoever is copying from the segment throws it away: the order between this store
  // and the next bytes written here is before_copies_to's.
  epochs_[segment].store(epochs_[segment].load(std::memory_order_relaxed) + 1,
                         std::memory_order_relaxed);
  shm::before_copies_to();
  List& list = queues_[index(book.queue)];
  (book.previous == kNoSegment ? list.first : books_[book.previous].next) = book.next;
  (book.next == kNoSegment ? list.last : books_[book.next].previous) = book.previous;
  --list.count;
  book = {.next = free_first_};
  free_first_ = segment;
  ++free_count_;
}

void Segments::close(std::uint32_t segment) {
  const SegmentBook& book = books_[segment];
  std::uint32_t& open = open_[index(book.queue)][book.ttl_class];
  if (open == segment) open = kNoSegment;
}

std::optional<std::uint64_t> Segments::room(Queue queue, std::size_t ttl_class,
                                            std::uint64_t size) const {
  const std::uint32_t segment = open(queue, ttl_class);
  if (segment == kNoSegment || size > bytes() - books_[segment].used) return std::nullopt;
  return offset(segment) + books_[segment].used;
}

void Segments::append(Queue queue, std::size_t ttl_class, std::uint64_t size, base::Nanos expires) {
  SegmentBook& book = books_[open(queue, ttl_class)];
  book.used += static_cast<std::uint32_t>(size);
  book.expires = std::max(book.expires, expires);
}

bool Segments::expired(std::uint32_t segment, base::Nanos now) const {
  const SegmentBook& book = books_[segment];
  return !book.free && book.used > 0 && book.expires <= now;
}

}  // namespace nacelle::cache
