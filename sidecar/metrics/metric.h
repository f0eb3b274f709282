// What the stages count with: a counter that only grows, and a gauge that is set. A histogram is in
// histogram.h.
//
// Any thread writes, any thread reads, nothing locks: every word is a relaxed atomic, so a snapshot
// may be a few requests apart from its neighbours.
#pragma once

#include <atomic>
#include <cstdint>

namespace nacelle::metrics {

class Counter {
 public:
  void add(std::uint64_t amount = 1) { value_.fetch_add(amount, std::memory_order_relaxed); }
  // For the largest that was ever seen.
  void raise_to(std::uint64_t value) {
    std::uint64_t seen = get();
    while (seen < value && !value_.compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
    }
  }
  [[nodiscard]] std::uint64_t get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

class Gauge {
 public:
  void set(std::uint64_t value) { value_.store(value, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

}  // namespace nacelle::metrics
