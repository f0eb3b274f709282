#include "tests/hostile/fetch_watch.h"

#include <set>

#include "sidecar/base/check.h"

// Names of the linker's, for the three ways to fetch. A change of their types breaks the test that
// looks for any fetch at all, not the build.
bool real_copy_in(const nacelle::shm::Untrusted* from, std::uint64_t offset, std::uint64_t size,
                  void* out) asm("__real__ZNK7nacelle3shm9Untrusted7copy_inEmmPv");
std::uint64_t real_load_u64(const nacelle::shm::Untrusted* from, std::uint64_t offset) asm(
    "__real__ZNK7nacelle3shm9Untrusted8load_u64Em");
std::uint32_t real_load_u32(const nacelle::shm::Untrusted* from, std::uint64_t offset) asm(
    "__real__ZNK7nacelle3shm9Untrusted8load_u32Em");
bool wrapped_copy_in(const nacelle::shm::Untrusted* from, std::uint64_t offset, std::uint64_t size,
                     void* out) asm("__wrap__ZNK7nacelle3shm9Untrusted7copy_inEmmPv");
std::uint64_t wrapped_load_u64(const nacelle::shm::Untrusted* from, std::uint64_t offset) asm(
    "__wrap__ZNK7nacelle3shm9Untrusted8load_u64Em");
std::uint32_t wrapped_load_u32(const nacelle::shm::Untrusted* from, std::uint64_t offset) asm(
    "__wrap__ZNK7nacelle3shm9Untrusted8load_u32Em");

bool wrapped_copy_in(const nacelle::shm::Untrusted* from, std::uint64_t offset, std::uint64_t size,
                     void* out) {
  const bool inside = real_copy_in(from, offset, size, out);
  if (inside) nacelle::testing::FetchWatch::saw(from, offset, out, size);
  return inside;
}
std::uint64_t wrapped_load_u64(const nacelle::shm::Untrusted* from, std::uint64_t offset) {
  const std::uint64_t value = real_load_u64(from, offset);
  nacelle::testing::FetchWatch::saw(from, offset, &value, sizeof value);
  return value;
}
std::uint32_t wrapped_load_u32(const nacelle::shm::Untrusted* from, std::uint64_t offset) {
  const std::uint32_t value = real_load_u32(from, offset);
  nacelle::testing::FetchWatch::saw(from, offset, &value, sizeof value);
  return value;
}

namespace nacelle::testing {
namespace {

std::mutex mutex;
std::set<const shm::Untrusted*> seen;       // since the last watch
std::set<const shm::Untrusted*> strangers;  // those that are not to be watched
std::atomic<FetchWatch*> watch{nullptr};

}  // namespace

FetchWatch::FetchWatch(std::span<std::byte> region, std::uint64_t slots_end, bool scramble,
                       std::uint64_t seed)
    : region_(region),
      slots_end_(slots_end),
      scramble_(scramble),
      seed_(seed | 1),
      counts_(std::make_unique<std::atomic<std::uint8_t>[]>(region.size())),
      first_(region.size()) {
  CHECK(watch.exchange(this) == nullptr);
}

FetchWatch::~FetchWatch() {
  const std::lock_guard lock(mutex);  // saw() is not in the middle of it
  watch = nullptr;
  seen.clear();  // their addresses may come back
  strangers.clear();
}

void FetchWatch::know_everybody() {
  const std::lock_guard lock(mutex);
  strangers = seen;
}

void FetchWatch::saw(const shm::Untrusted* from, std::uint64_t offset, const void* bytes,
                     std::uint64_t size) {
  const std::lock_guard lock(mutex);
  FetchWatch* const now = watch.load();
  if (now == nullptr) seen.insert(from);
  if (now != nullptr && now->watched_.load() == nullptr && !strangers.contains(from)) {
    now->watched_ = from;
  }
  if (now != nullptr && now->watched_.load() == from) {
    now->record(offset, static_cast<const std::byte*>(bytes), size);
  }
}

void FetchWatch::record(std::uint64_t offset, const std::byte* bytes, std::uint64_t size) {
  for (std::uint64_t i = offset; i < offset + size; ++i) {
    if (i < slots_end_ && may_be_fetched_again(i)) continue;
    bytes_.fetch_add(1, std::memory_order_relaxed);
    if (counts_[i].fetch_add(1) == 0) {
      first_[i] = bytes[i - offset];
    } else {
      twice_.fetch_add(1);
      std::uint64_t none = UINT64_MAX;
      first_offence_.compare_exchange_strong(none, i);
    }
    if (!scramble_) continue;
    // Never the byte that it was.
    const auto noise = static_cast<std::byte>((i * 0x9e3779b97f4a7c15 * seed_) >> 56);
    region_[i] ^= noise == std::byte{0} ? std::byte{0xFF} : noise;
  }
}

void FetchWatch::forget(std::uint64_t offset, std::uint64_t size) {
  for (std::uint64_t i = offset; i < offset + size; ++i) counts_[i] = 0;
}

std::string FetchWatch::offence() const {
  const std::uint64_t offset = first_offence_.load();
  if (offset == UINT64_MAX) return "none";
  if (offset >= slots_end_) return "arena byte at " + std::to_string(offset);
  return "slot byte " +
         std::to_string((offset - sizeof(shm::RequestHeader)) % sizeof(shm::RequestSlot)) + " at " +
         std::to_string(offset);
}

}  // namespace nacelle::testing
