// Sees every byte that the sidecar fetches from one client's request region, and changes it right
// after: what was checked cannot be what is read the next time. So a byte that is fetched twice is
// found, whether or not anybody would have noticed.
//
// Works by the linker: --wrap puts fetch_watch.cc between shm::Untrusted and its callers.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "shm/layout.h"
#include "shm/region.h"

namespace nacelle::testing {

// The bytes that may be read again: words that exist to be looked at over and over, and whose every
// value is harmless (scenarios Released..., Waiting..., Cancel..., SlotsUsed... in
// control_words.cc).
constexpr bool may_be_fetched_again(std::uint64_t offset) {
  if (offset < sizeof(shm::RequestHeader)) return offset < sizeof(std::uint32_t);  // slots_used
  const std::uint64_t field = (offset - sizeof(shm::RequestHeader)) % sizeof(shm::RequestSlot);
  const auto within = [field](std::uint64_t first, std::uint64_t size) {
    return field >= first && field < first + size;
  };
  return within(offsetof(shm::RequestSlot, generation), 8) ||
         within(offsetof(shm::RequestSlot, consumed), 4) ||
         within(offsetof(shm::RequestSlot, cancel), 4) ||
         within(offsetof(shm::RequestSlot, waiting), 4) ||
         within(offsetof(shm::RequestSlot, released), 8);
}

class FetchWatch {
 public:
  // Who has been fetched from until now is not who will be watched.
  static void know_everybody();
  // Watches the one whom nobody fetched from before know_everybody(). `region` is the client's own,
  // writable mapping of the same memory, `slots_end` where its slots end (behind them, nothing may
  // be fetched again), and `scramble` whether to change what was fetched.
  FetchWatch(std::span<std::byte> region, std::uint64_t slots_end, bool scramble,
             std::uint64_t seed);
  ~FetchWatch();
  FetchWatch(const FetchWatch&) = delete;
  FetchWatch& operator=(const FetchWatch&) = delete;

  // Between two requests: what these bytes held when they were fetched is forgotten.
  void forget(std::uint64_t offset, std::uint64_t size);
  // The byte as it was fetched first.
  [[nodiscard]] std::byte fetched(std::uint64_t offset) const { return first_[offset]; }
  [[nodiscard]] std::uint32_t count(std::uint64_t offset) const { return counts_[offset].load(); }
  // Fetches of a byte that had been fetched already. What the test is about: 0.
  [[nodiscard]] std::uint64_t twice() const { return twice_.load(); }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_.load(); }  // all fetches that count
  [[nodiscard]] std::string offence() const;  // the first byte that was fetched twice

  // Called by the wrappers.
  static void saw(const shm::Untrusted* from, std::uint64_t offset, const void* bytes,
                  std::uint64_t size);

 private:
  void record(std::uint64_t offset, const std::byte* bytes, std::uint64_t size);

  const std::span<std::byte> region_;
  const std::uint64_t slots_end_;
  const bool scramble_;
  const std::uint64_t seed_;
  std::atomic<const shm::Untrusted*> watched_{nullptr};
  std::unique_ptr<std::atomic<std::uint8_t>[]> counts_;  // [region_.size()]
  std::vector<std::byte> first_;                         // [region_.size()]
  std::atomic<std::uint64_t> twice_{0};
  std::atomic<std::uint64_t> bytes_{0};
  std::atomic<std::uint64_t> first_offence_{UINT64_MAX};
};

}  // namespace nacelle::testing
