#include "sidecar/replier.h"

#include <algorithm>
#include <new>

#include "sidecar/observe.h"

namespace nacelle::sidecar {
namespace {

using base::Code;

std::uint32_t microseconds(base::Nanos time) {
  return static_cast<std::uint32_t>(
      std::clamp<base::Nanos>(time / base::kMicrosecond, 0, UINT32_MAX));
}

// Room for `size` in all; false when there is no memory for it. Grows by halves at least, so that
// many small requests for room stay cheap.
template <typename T>
bool reserve(std::vector<T>& list, std::size_t size) {
  if (size <= list.capacity()) return true;
  try {
    list.reserve(std::max(size, list.capacity() + list.capacity() / 2));
  } catch (const std::bad_alloc&) {
    return false;
  }
  return true;
}

}  // namespace

Replier::Replier(Services& services, Counters& counters)
    : services_(services), counters_(counters), waker_([this] { wake_loop(); }) {}

Replier::~Replier() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_.notify_one();
  waker_.join();
}

void Replier::count(const base::Error& error) {
  counters_.refused[static_cast<std::size_t>(error.code)].add();
  switch (error.code) {
    case Code::kBusy:
      counters_.busy.add();
      break;
    case Code::kDeadlineExceeded:
      counters_.expired.add();
      break;
    case Code::kCancelled:
      counters_.cancelled.add();
      break;
    default:
      counters_.invalid.add();
  }
}

// Writes one reply; the result says how its client waits for it.
shm::Waiter Replier::publish(const Outcome& outcome) {
  const Request& request = *outcome.request;
  shm::Connection& connection = *request.client->connection;
  LoadedService& service = services_.at(request.service);
  if (!outcome.status) {
    count(outcome.status.error());
    service.counters.errors.add();
    return connection.complete_error(request.slot, request.generation, outcome.status.error());
  }
  request.client->counters.texts.add(request.texts);
  const base::Nanos queued = request.started > 0 ? request.started - request.arrived : 0;
  return connection.complete(
      request.slot, request.generation,
      {.items = request.texts,
       .queue_us = microseconds(queued),
       .compute_us = microseconds(request.compute),
       .batch_texts = request.batch_texts,
       .batch_clients = request.batch_clients},
      shm::row_list_size(request.texts, request.plan.size, request.plan.with_format));
}

void Replier::reply(std::vector<Outcome>&& outcomes) {
  std::vector<Sleeper> sleepers;
  const bool has_room = reserve(sleepers, outcomes.size());
  const base::Nanos ended = base::now_ns();
  for (Outcome& outcome : outcomes) {
    Request& request = *outcome.request;
    // Before it is published: afterwards the client may already ask the next.
    const base::Nanos replied = base::now_ns();
    if (const shm::Waiter waiter = publish(outcome)) {
      if (has_room) {
        sleepers.push_back({request.client, waiter});
      } else {
        request.client->connection->wake(waiter);
      }
    }
    observe_reply(request, outcome.status, ended, replied, counters_,
                  services_.at(request.service).counters);
  }
  wake(std::move(sleepers));
}

void Replier::refuse(ClientState& client, const shm::Submission& submission,
                     const base::Error& error, std::uint32_t retry_after_us) {
  count(error);
  client.account->errors.add();
  if (about_texts(submission.op) && submission.service < services_.size()) {
    services_.at(submission.service).counters.ended[static_cast<std::size_t>(error.code)].add();
  }
  if (const shm::Waiter waiter = client.connection->complete_error(
          submission.slot, submission.generation, error, retry_after_us)) {
    client.connection->wake(waiter);
  }
}

void Replier::answer(ClientState& client, const shm::Submission& submission,
                     std::uint64_t payload_size) {
  if (const shm::Waiter waiter = client.connection->complete(
          submission.slot, submission.generation, {.items = submission.items}, payload_size)) {
    client.connection->wake(waiter);
  }
}

void Replier::end_stream(ClientState& client, std::uint32_t slot, std::uint64_t generation,
                         const base::Status& status, std::uint32_t pieces) {
  if (!status) count(status.error());
  const shm::Waiter waiter =
      status ? client.connection->complete(slot, generation, {.items = pieces}, 0)
             : client.connection->complete_error(slot, generation, status.error());
  if (waiter) client.connection->wake(waiter);
}

void Replier::wake(std::vector<Sleeper> sleepers) {
  std::size_t direct = std::min(sleepers.size(), kDirectWakes);
  if (sleepers.size() > direct) {
    const std::lock_guard lock(mutex_);
    if (reserve(to_wake_, to_wake_.size() + sleepers.size() - direct)) {
      to_wake_.insert(to_wake_.end(), sleepers.begin() + static_cast<std::ptrdiff_t>(direct),
                      sleepers.end());
      work_.notify_one();
    } else {
      direct = sleepers.size();
    }
  }
  for (std::size_t i = 0; i < direct; ++i) sleepers[i].wake();
}

void Replier::wake_loop() {
  std::vector<Sleeper> mine;
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      work_.wait(lock, [this] { return stopping_ || !to_wake_.empty(); });
      if (to_wake_.empty()) return;  // stopping, and nobody is left asleep
      std::swap(mine, to_wake_);
    }
    for (const Sleeper& sleeper : mine) sleeper.wake();
    mine.clear();
  }
}

}  // namespace nacelle::sidecar
