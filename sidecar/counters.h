// Numbers that the stages count, most of them for nacellectl to show. Each is written by few
// threads and read by any, so relaxed atomics suffice: a snapshot may be a few requests apart from
// its neighbours.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "shm/connection.h"
#include "sidecar/base/result.h"

namespace nacelle::sidecar {

class Counter {
 public:
  void add(std::uint64_t amount = 1) { value_.fetch_add(amount, std::memory_order_relaxed); }
  void raise_to(std::uint64_t value) {
    std::uint64_t seen = get();
    while (seen < value && !value_.compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
    }
  }
  [[nodiscard]] std::uint64_t get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

// Of the whole sidecar.
struct Counters {
  Counter requests;  // taken from clients: embed and classify, refused ones included
  Counter texts;     // computed
  Counter tokens;    // computed, special ones included
  Counter batches;
  Counter batches_mixed;    // with texts of more than one client
  Counter batch_texts_max;  // the most texts in one batch
  Counter busy;
  Counter invalid;
  Counter expired;
  Counter cancelled;
  // By the code that the client was told.
  std::array<Counter, static_cast<std::size_t>(base::Code::kInternal) + 1> refused_connections;
  // Clients disconnected for breaking the protocol, by shm::Violation.
  std::array<Counter, shm::kViolationNames.size()> violations;
  Counter rescued_by_timeout;  // requests that a backstop found, not a doorbell: should stay 0
};

// Of one service.
struct ServiceCounters {
  Counter requests;
  Counter texts;
  Counter tokens;
  Counter batches;
  Counter errors;  // requests answered with an error
};

// Of one client connection.
struct ClientCounters {
  Counter requests;
  Counter texts;
};

}  // namespace nacelle::sidecar
