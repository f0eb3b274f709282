// A client's look into the result cache: region C, mapped read-only, and its touch page.
//
// A hit takes no lock, sends no message and makes no system call, and the sidecar need not run for
// it. It looks at two lines of the index, one epoch and the entry. Whatever is in doubt (an entry
// that is being replaced, a segment that is given away) is looked at again, kCacheTries times at
// most, and then it is a miss.
//
// The sidecar is trusted: region C is its own. What is wrong in it can still not make a reader read
// outside of the region, or wait.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "shm/cache_key.h"
#include "shm/cache_layout.h"
#include "shm/region.h"
#include "sidecar/base/fd.h"
#include "sidecar/base/result.h"

namespace nacelle::shm {

// Looks at one key before it is called a miss. A second look finds an entry that was moved or
// replaced during the first; each of more is for a writer that moved it once more meanwhile.
inline constexpr int kCacheTries = 4;

class CacheReader {
 public:
  // Maps region C and, unless `touches` is empty, the touch page that the sidecar made for this
  // client; both descriptors are closed. kVersionMismatch for a region of another version, kInvalid
  // for what is no such region, kUnavailable when it cannot be mapped or the clocks cannot be
  // compared (cache_clock.h). A forked child must open its own: it does not have the mappings.
  static base::Result<std::unique_ptr<CacheReader>> open(base::Fd region, base::Fd touches);

  // Copies the value under `key` to `head` and then `body`; false: a miss. The value must have
  // exactly as many bytes as the two together. After a miss their contents are unspecified. Any
  // thread.
  bool get(const CacheKey& key, std::span<std::byte> head, std::span<std::byte> body) const;
  // The same at a given time; `mono` is the sidecar's monotonic clock.
  bool get(const CacheKey& key, std::span<std::byte> head, std::span<std::byte> body,
           CacheTimes now) const;

  // Grows when the sidecar took answers back, so that what a client knows of its services may be
  // old: CacheHeader::generation. Any thread.
  [[nodiscard]] std::uint64_t generation() const;

  // The largest value that can be there, in bytes.
  [[nodiscard]] std::uint32_t entry_bytes_max() const { return value_max_; }

 private:
  enum class Look { kHit, kOther, kDoubt };
  struct Out {
    std::span<std::byte> head;
    std::span<std::byte> body;
  };
  CacheReader() = default;
  base::Status check();
  Look look_in_bucket(const CacheBucket& bucket, std::uint64_t tag, const CacheKey& key,
                      const Out& out, CacheTimes now, CacheEntry& entry, std::size_t& at) const;
  Look look_at(const std::atomic<std::uint64_t>& place, std::uint64_t word, const CacheKey& key,
               const Out& out, CacheTimes now, CacheEntry& entry) const;
  [[nodiscard]] TouchLane* lane() const;
  void hit(std::uint64_t tag, std::uint32_t slot, const CacheEntry& entry) const;
  void missed() const;

  Mapping region_;
  Mapping touches_;
  // Of the header, which never changes.
  const CacheHeader* header_ = nullptr;
  const CacheBucket* buckets_ = nullptr;
  const std::atomic<std::uint64_t>* epochs_ = nullptr;
  std::uint64_t bucket_count_ = 0;
  std::uint64_t data_offset_ = 0;
  std::uint64_t segment_count_ = 0;
  std::uint32_t segment_shift_ = 0;
  std::uint32_t value_max_ = 0;
  std::uint32_t lanes_ = 0;
  std::uint32_t ring_ = 0;
  std::int64_t clock_offset_ = 0;  // the sidecar's monotonic clock minus ours
};

}  // namespace nacelle::shm
