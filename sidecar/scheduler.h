// Decides what runs next: first come, first served, as full as the token budget allows.
//
// Pure: time comes in as a parameter and decisions go out, nothing sleeps, nothing is locked. A
// batch starts as soon as the device is free and something waits; with max_delay > 0 a batch that
// is not full waits for company, but never longer than that after its oldest request arrived.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "sidecar/base/time.h"
#include "sidecar/flow.h"

namespace nacelle::sidecar {

struct SchedulerLimits {
  std::uint32_t batch_tokens_max = 4096;     // at least the tokens of the longest text
  base::Nanos max_delay = 0;                 // 0: never wait for company
  std::uint32_t queue_requests_max = 1024;   // requests not yet fully handed out
  std::uint64_t queue_tokens_max = 1 << 20;  // their tokens; a single request may exceed it alone
};

// What the executor should do now.
struct Decision {
  std::optional<Batch> batch;          // run this
  std::vector<Outcome> dropped;        // answer these: expired, or their client left
  base::Nanos wake_at = base::kNever;  // without a batch: ask again then, or when a request comes
};

class Scheduler {
 public:
  explicit Scheduler(const SchedulerLimits& limits) : limits_(limits) {}

  // Takes a request that has at least one text with tokens. Gives it back when there is no room.
  [[nodiscard]] std::unique_ptr<Request> add(std::unique_ptr<Request> request);

  // Call when the device is free. `given_up` tells whether a request's client is no longer
  // interested; it is asked only about requests that would run now.
  [[nodiscard]] Decision next(base::Nanos now, const std::function<bool(const Request&)>& given_up);

  // Takes a request out whose batch failed while more of its texts waited; nothing when it has
  // left.
  [[nodiscard]] std::unique_ptr<Request> remove(const Request* request);

  // Takes everything out of the queue: the end of a drain that ran out of time.
  [[nodiscard]] std::vector<std::unique_ptr<Request>> take_all();

  [[nodiscard]] std::size_t queued_requests() const { return queue_.size(); }
  [[nodiscard]] std::uint64_t queued_tokens() const { return queued_tokens_; }

 private:
  void drop(std::size_t index, base::Error why, std::vector<Outcome>& dropped);
  void drop_expired(base::Nanos now, std::vector<Outcome>& dropped);
  [[nodiscard]] std::uint64_t waiting_tokens(const Request& like) const;
  bool add_slice(Request& request, Batch& batch);

  SchedulerLimits limits_;
  std::deque<std::unique_ptr<Request>> queue_;  // by arrival
  std::uint64_t queued_tokens_ = 0;             // of texts not yet handed out
};

}  // namespace nacelle::sidecar
