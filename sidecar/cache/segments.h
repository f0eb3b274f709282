// The memory of entries: segments of equal size, each a log that is written from its beginning on,
// and freed as a whole. Entries in one segment are to live about equally long.
//
// A segment is free, or it stands in one of two queues, oldest first: probation, where new entries
// begin, and main. While it is free its epoch is odd. Knows nothing of keys or popularity.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "shm/cache_layout.h"
#include "sidecar/base/time.h"

namespace nacelle::cache {

enum class Queue : std::uint8_t { kProbation = 0, kMain = 1 };
inline constexpr std::size_t kQueues = 2;

// Times to live are sorted into so many classes, each four times as long as the one before: up to
// 16 s, 64 s, ... 4096 s (with the hour), ... 3 days (with the day), 12 days, and the rest.
inline constexpr std::size_t kTtlClasses = 10;
std::size_t ttl_class(base::Nanos ttl);

inline constexpr std::uint32_t kNoSegment = UINT32_MAX;

// What is known of a segment besides its epoch. Private to the sidecar.
struct SegmentBook {
  base::Nanos expires = 0;  // when the last of its entries does, by the monotonic clock
  std::uint32_t used = 0;   // bytes
  std::uint32_t next = kNoSegment;
  std::uint32_t previous = kNoSegment;
  Queue queue = Queue::kProbation;
  std::uint8_t ttl_class = 0;
  bool free = true;
  std::uint8_t reserved = 0;
};
static_assert(sizeof(SegmentBook) == 24);

class Segments {
 public:
  // All in memory of the caller's: `data` is the segments one behind the other, each of 2^shift
  // bytes, from `data_offset` in region C on. All begin free.
  Segments(std::span<std::byte> data, std::uint64_t data_offset,
           std::span<std::atomic<std::uint64_t>> epochs, std::span<SegmentBook> books,
           std::uint32_t shift);

  // Takes a free segment, as the youngest of `queue`. There must be one.
  std::uint32_t take(Queue queue, std::size_t ttl_class);
  // Gives a segment back. No index word may lead into it any more.
  void give_back(std::uint32_t segment);

  // Where in region C the next entry of `size` bytes of this queue and class goes: behind the last
  // one, if it fits there.
  [[nodiscard]] std::optional<std::uint64_t> room(Queue queue, std::size_t ttl_class,
                                                  std::uint64_t size) const;
  // Takes that room: the entry is being written there.
  void append(Queue queue, std::size_t ttl_class, std::uint64_t size, base::Nanos expires);
  // The segment that entries of this queue and class go to is full, or on its way out.
  void close(std::uint32_t segment);

  [[nodiscard]] std::uint32_t oldest(Queue queue) const { return queues_[index(queue)].first; }
  [[nodiscard]] std::uint32_t count(Queue queue) const { return queues_[index(queue)].count; }
  [[nodiscard]] std::uint32_t free_count() const { return free_count_; }
  [[nodiscard]] std::uint32_t size() const { return static_cast<std::uint32_t>(books_.size()); }
  [[nodiscard]] std::uint32_t bytes() const { return 1U << shift_; }  // of one segment
  [[nodiscard]] const SegmentBook& book(std::uint32_t segment) const { return books_[segment]; }
  [[nodiscard]] std::uint32_t segment_at(std::uint64_t offset) const {
    return static_cast<std::uint32_t>((offset - data_offset_) >> shift_);
  }
  [[nodiscard]] std::uint64_t offset(std::uint32_t segment) const {
    return data_offset_ + (std::uint64_t{segment} << shift_);
  }
  // The bytes at an offset of region C that room() gave.
  [[nodiscard]] std::byte* at(std::uint64_t offset) const {
    return data_.data() + (offset - data_offset_);
  }
  // Whether it is in use, and all of its entries have expired.
  [[nodiscard]] bool expired(std::uint32_t segment, base::Nanos now) const;

 private:
  struct List {
    std::uint32_t first = kNoSegment;
    std::uint32_t last = kNoSegment;
    std::uint32_t count = 0;
  };
  static std::size_t index(Queue queue) { return static_cast<std::size_t>(queue); }
  [[nodiscard]] std::uint32_t open(Queue queue, std::size_t ttl_class) const {
    return open_[index(queue)][ttl_class];
  }

  std::span<std::byte> data_;
  std::uint64_t data_offset_;
  std::span<std::atomic<std::uint64_t>> epochs_;
  std::span<SegmentBook> books_;
  std::uint32_t shift_;
  std::array<List, kQueues> queues_{};
  std::array<std::array<std::uint32_t, kTtlClasses>, kQueues> open_{};
  std::uint32_t free_first_ = kNoSegment;  // through SegmentBook::next
  std::uint32_t free_count_ = 0;
};

}  // namespace nacelle::cache
