#include "sidecar/scheduler.h"

#include <algorithm>
#include <utility>

#include "sidecar/base/check.h"

namespace nacelle::sidecar {
namespace {

using base::Code;
using base::Error;

template <typename Other>  // a Request, or a Batch
bool runs_with(const Request& a, const Other& b) {
  return a.service == b.service && a.task == b.task && a.raw == b.raw;
}

// Tokens of the windows that no batch has held yet.
std::uint64_t tokens_left(const Request& request) {
  return request.offsets.back() - request.offsets[request.next];
}

}  // namespace

std::unique_ptr<Request> Scheduler::add(std::unique_ptr<Request> request) {
  const std::uint64_t tokens = tokens_left(*request);
  CHECK(tokens > 0);
  const bool room = queue_.size() < limits_.queue_requests_max &&
                    (queue_.empty() || queued_tokens_ + tokens <= limits_.queue_tokens_max);
  if (!room) return request;
  queued_tokens_ += tokens;
  queue_.push_back(std::move(request));
  return nullptr;
}

void Scheduler::drop(std::size_t index, Error why, std::vector<Outcome>& dropped) {
  const auto place = queue_.begin() + static_cast<std::ptrdiff_t>(index);
  queued_tokens_ -= tokens_left(**place);
  dropped.push_back({std::move(*place), std::move(why)});
  queue_.erase(place);
}

void Scheduler::drop_expired(base::Nanos now, std::vector<Outcome>& dropped) {
  const auto live = std::stable_partition(
      queue_.begin(), queue_.end(), [now](const auto& request) { return request->deadline > now; });
  for (auto expired = live; expired != queue_.end(); ++expired) {
    queued_tokens_ -= tokens_left(**expired);
    dropped.push_back({std::move(*expired), Error{Code::kDeadlineExceeded,
                                                  "the deadline passed while the request waited"}});
  }
  queue_.erase(live, queue_.end());
}

std::uint64_t Scheduler::waiting_tokens(const Request& like) const {
  std::uint64_t tokens = 0;
  for (const auto& request : queue_) {
    if (runs_with(*request, like)) tokens += tokens_left(*request);
  }
  return tokens;
}

// Puts as many of the request's next windows into the batch as fit. True when none are left.
bool Scheduler::add_slice(Request& request, Batch& batch) {
  Slice slice{&request, request.next, 0};
  std::uint32_t texts = 0;
  while (request.next < request.windows()) {
    const std::uint32_t tokens = request.tokens(request.next);
    // The first window of a batch always fits: the limit is checked against every model at start.
    if (tokens > 0 && batch.texts + texts > 0 && batch.tokens + tokens > limits_.batch_tokens_max) {
      break;
    }
    batch.tokens += tokens;
    queued_tokens_ -= tokens;
    texts += tokens > 0 ? 1 : 0;
    ++request.next;
  }
  slice.count = request.next - slice.first;
  batch.texts += texts;
  if (texts > 0) batch.slices.push_back(slice);
  return request.next == request.windows();
}

Decision Scheduler::next(base::Nanos now, const std::function<bool(const Request&)>& given_up) {
  Decision decision;
  drop_expired(now, decision.dropped);
  if (queue_.empty()) return decision;

  const Request& oldest = *queue_.front();
  // A request that has begun does not wait again: its first batch has paid the delay.
  const base::Nanos company_until = oldest.arrived + limits_.max_delay;
  if (limits_.max_delay > 0 && oldest.started == 0 && now < company_until &&
      waiting_tokens(oldest) < limits_.batch_tokens_max) {
    base::Nanos first_deadline = base::kNever;
    for (const auto& request : queue_) first_deadline = std::min(first_deadline, request->deadline);
    decision.wake_at = std::min(company_until, first_deadline);
    return decision;
  }

  Batch batch;
  std::vector<const ClientState*> clients;
  bool begun = false;
  for (std::size_t i = 0; i < queue_.size();) {
    Request& request = *queue_[i];
    if (begun && !runs_with(request, batch)) {
      ++i;
      continue;
    }
    if (given_up(request)) {
      drop(i, Error{Code::kCancelled, "the client gave the request up"}, decision.dropped);
      continue;
    }
    batch.service = request.service;
    batch.task = request.task;
    batch.raw = request.raw;
    begun = true;
    const std::size_t slices = batch.slices.size();
    const bool finished = add_slice(request, batch);
    if (batch.slices.size() > slices) {
      if (request.started == 0) request.started = now;
      if (std::find(clients.begin(), clients.end(), request.client.get()) == clients.end()) {
        clients.push_back(request.client.get());
      }
    }
    if (!finished) break;  // the budget is used up
    batch.finishing.push_back(std::move(queue_[i]));
    queue_.erase(queue_.begin() + static_cast<std::ptrdiff_t>(i));
  }
  batch.clients = static_cast<std::uint32_t>(clients.size());
  if (begun) decision.batch = std::move(batch);
  return decision;
}

std::unique_ptr<Request> Scheduler::remove(const Request* request) {
  const auto place = std::find_if(queue_.begin(), queue_.end(), [request](const auto& queued) {
    return queued.get() == request;
  });
  if (place == queue_.end()) return nullptr;
  queued_tokens_ -= tokens_left(**place);
  std::unique_ptr<Request> removed = std::move(*place);
  queue_.erase(place);
  return removed;
}

std::vector<std::unique_ptr<Request>> Scheduler::take_all() {
  std::vector<std::unique_ptr<Request>> all;
  all.reserve(queue_.size());
  for (auto& request : queue_) all.push_back(std::move(request));
  queue_.clear();
  queued_tokens_ = 0;
  return all;
}

}  // namespace nacelle::sidecar
