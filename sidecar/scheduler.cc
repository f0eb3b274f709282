// The events, and what they change; which batch is made is in choice.cc.
#include "sidecar/scheduler.h"

#include <algorithm>
#include <utility>

#include "sidecar/base/check.h"

namespace nacelle::sidecar {
namespace {

using base::Code;
using base::Error;
using base::Nanos;

constexpr Nanos kRetryMin = base::kMillisecond;
constexpr Nanos kRetryMax = base::kSecond;

// Tokens of the windows that no batch has held yet.
std::uint64_t tokens_left(const Request& request) {
  return request.offsets.back() - request.offsets[request.next];
}

Error expired(const char* when) {
  return {Code::kDeadlineExceeded, std::string("the deadline passed while the request ") + when};
}
Error gave_up() { return {Code::kCancelled, "the client gave the request up"}; }

}  // namespace

Scheduler::Scheduler(const SchedulerLimits& limits, std::vector<ServiceLimits> services)
    : limits_(limits), batch_tokens_(limits.batch_tokens_max), shares_(limits.burst) {
  for (ServiceLimits& service : services) {
    CHECK(service.max_concurrent > 0 && service.weight > 0);
    CHECK(service.priority < kPriorityClasses);
    services_.push_back({.limits = std::move(service)});
  }
}

Scheduler::Service& Scheduler::service(std::size_t index) {
  if (index >= services_.size()) services_.resize(index + 1);
  return services_[index];
}

std::size_t Scheduler::queued_requests(const ClientState& client) const {
  const Sharer* found = shares_.find(client);
  return found ? found->queued : 0;
}

std::uint64_t Scheduler::queued_tokens(const ClientState& client) const {
  const Sharer* found = shares_.find(client);
  return found ? found->tokens : 0;
}

std::uint32_t Scheduler::running(std::size_t service) const {
  return service < services_.size() ? services_[service].running : 0;
}

std::uint32_t Scheduler::waiting(std::size_t service) const {
  return service < services_.size() ? services_[service].waiting : 0;
}

Lane& Scheduler::lane(const Request& request) {
  const std::size_t index = Lane::index_of(request);
  if (index >= lanes_.size()) lanes_.resize(index + 1);
  std::unique_ptr<Lane>& lane = lanes_[index];
  if (!lane) {
    lane = std::make_unique<Lane>();
    lane->service = request.service;
    lane->task = request.task;
    lane->raw = request.raw;
    lane->index = index;
  }
  return *lane;
}

Line& Scheduler::line(Sharer& client, Lane& lane) {
  if (lane.index >= client.lines.size()) client.lines.resize(lane.index + 1);
  std::unique_ptr<Line>& line = client.lines[lane.index];
  if (!line) {
    line = std::make_unique<Line>();
    line->client = &client;
    line->lane = &lane;
  }
  return *line;
}

void Scheduler::leave_queue(Sharer& client) {
  --queued_;
  if (--client.queued == 0) --waiting_clients_;
}

// Of windows that no batch has held.
void Scheduler::count_tokens(Line& line, std::uint64_t more, std::uint64_t less) {
  line.lane->tokens += more - less;
  line.client->tokens += more - less;
  queued_tokens_ += more - less;
}

void Scheduler::set_batch_tokens(std::uint32_t tokens) {
  batch_tokens_ = std::clamp(tokens, 1U, limits_.batch_tokens_max);
}

Nanos Scheduler::queue_time() const {
  double ns = 0;
  for (const auto& lane : lanes_) {
    if (lane) ns += lane->cost.token_ns() * static_cast<double>(lane->tokens);
  }
  return static_cast<Nanos>(std::min(ns, 1e18));
}

// When what is queued now should be half done.
Nanos Scheduler::retry_after() const { return std::clamp(queue_time() / 2, kRetryMin, kRetryMax); }

// What an open loop of callers would make endless. Whoever has less than an equal part of the time
// that the queue may take, or nothing yet, gets in all the same, and so does a client that is
// alone.
bool Scheduler::waits_too_long(const Sharer& client) const {
  if (limits_.queue_time_max == 0 || client.queued == 0 || waiting_clients_ < 2) return false;
  const auto bound = static_cast<double>(limits_.queue_time_max);
  const auto all = static_cast<double>(queue_time());
  const double part = static_cast<double>(client.tokens) /
                      static_cast<double>(std::max<std::uint64_t>(queued_tokens_, 1));
  return all > bound && all * part * static_cast<double>(waiting_clients_) >= bound;
}

std::optional<Refusal> Scheduler::refuses(const ClientState& client) const {
  const Sharer* found = shares_.find(client);
  const Sharer nobody;
  const auto limit = queue_full(found ? *found : nobody, 0);
  if (!limit) return std::nullopt;
  return Refusal{nullptr, {Code::kBusy, *limit + ": try again later"}, retry_after()};
}

// The limit of the queue that a client's next request would break; `tokens` is 0 when it follows
// another one. A client may hold as much of the queue as it leaves free, so that whoever comes
// finds room, however many were here before.
std::optional<std::string> Scheduler::queue_full(const Sharer& client, std::uint64_t tokens) const {
  const std::uint64_t places = limits_.queue_requests_max - queued_;
  const std::uint64_t room =
      limits_.queue_tokens_max - std::min(queued_tokens_, limits_.queue_tokens_max);
  const bool no_place = places == 0;
  const bool no_room = tokens > room && queued_tokens_ > 0;
  const bool too_many = client.queued > places;
  const bool too_long = tokens > 0 && client.tokens > 0 && client.tokens + tokens > room;
  if (!no_place && !no_room && !too_many && !too_long) {
    if (!waits_too_long(client)) return std::nullopt;
    return "what waits takes too long (scheduler.queue_ms_max = " +
           std::to_string(limits_.queue_time_max / base::kMillisecond) + ")";
  }
  const std::string limit =
      no_place || too_many
          ? "(scheduler.queue_requests_max = " + std::to_string(limits_.queue_requests_max) + ")"
          : "(scheduler.queue_tokens_max = " + std::to_string(limits_.queue_tokens_max) + ")";
  if (no_place || no_room) return "the queue is full " + limit;
  return "what is left of the queue is for other clients " + limit;
}

// The limit of a service that one more request, which must wait for a batch of its own, would
// break.
std::optional<std::string> Scheduler::service_full(const Service& service) {
  const ServiceLimits& limits = service.limits;
  if (limits.max_queue_size == kNoLimit) return std::nullopt;
  const std::uint64_t room =
      limits.max_concurrent == kNoLimit ? 0 : limits.max_concurrent - service.running;
  if (service.waiting < room + limits.max_queue_size) return std::nullopt;
  return "the queue of the service is full (services." + limits.name +
         ".max_queue_size = " + std::to_string(limits.max_queue_size) + ", max_concurrent = " +
         (limits.max_concurrent == kNoLimit ? "unlimited" : std::to_string(limits.max_concurrent)) +
         ")";
}

Refusal Scheduler::add(std::unique_ptr<Request> request) {
  const std::uint64_t tokens = tokens_left(*request);
  CHECK(tokens > 0);
  Service& service = this->service(request->service);
  const std::uint64_t key = answer_key(*request);
  Flight* same = table_.find(key, *request);
  Sharer& client = shares_.sharer(request->client);
  std::optional<std::string> limit = queue_full(client, same ? 0 : tokens);
  if (!limit && !same) limit = service_full(service);
  if (limit) {
    ++counts_.busy;
    return {std::move(request), {Code::kBusy, *limit + ": try again later"}, retry_after()};
  }

  request->order = ++counts_.taken;
  ++held_;
  ++queued_;
  if (client.queued++ == 0) ++waiting_clients_;
  deadlines_.add(*request);
  ++client.requests;
  shares_.came(client, service.limits.priority, request->arrived);
  if (same) {
    ++counts_.shared;
    request->flight = same;
    // One copy of the tokens is enough.
    request->ids = request->types = request->offsets = request->first_windows = {};
    same->followers.push_back(std::move(request));
    return {};
  }

  Lane& lane = this->lane(*request);
  lane.arrivals.arrived(request->arrived);
  flights_.push_back(std::make_unique<Flight>());
  Flight& flight = *flights_.back();
  flight.place = flights_.size() - 1;
  flight.key = key;
  flight.leader = std::move(request);
  flight.leader->flight = &flight;
  table_.add(flight);
  ++service.waiting;
  lane.push_back(line(client, lane), flight);
  count_tokens(*flight.line, tokens, 0);
  return {};
}

// What every request does when it leaves.
std::unique_ptr<Request> Scheduler::let_go(std::unique_ptr<Request> request) {
  deadlines_.remove(*request);
  --held_;
  --shares_.sharer(request->client).requests;
  request->flight = nullptr;
  return request;
}

// Forgets a flight; its leader comes back. It has no followers any more.
std::unique_ptr<Request> Scheduler::end(Flight& flight) {
  CHECK(flight.followers.empty());
  std::unique_ptr<Request> leader = std::move(flight.leader);
  Service& service = this->service(leader->service);
  --(flight.started ? service.running : service.waiting);
  if (flight.line) {
    const std::uint64_t tokens = tokens_left(*leader);
    count_tokens(*flight.line, 0, tokens);
    leave_queue(*flight.line->client);
    flight.line->lane->remove(flight);
  }
  table_.remove(flight);
  const std::size_t place = flight.place;
  std::swap(flights_[place], flights_.back());
  flights_[place]->place = place;
  flights_.pop_back();
  return let_go(std::move(leader));
}

// The flight's leader leaves, and the first follower that is still interested takes its place.
void Scheduler::replace_leader(Flight& flight, Error why, const GivenUp& given_up,
                               std::vector<Outcome>& left) {
  while (!flight.followers.empty()) {
    std::unique_ptr<Request> next = std::move(flight.followers.front());
    flight.followers.erase(flight.followers.begin());
    Sharer& client = shares_.sharer(next->client);
    if (given_up(*next)) {
      ++counts_.cancelled;
      leave_queue(client);
      left.push_back({let_go(std::move(next)), gave_up()});
      continue;
    }
    std::unique_ptr<Request> last = succeed(flight, std::move(next));
    // It waits on in the place of the one that leaves, or is in its batch now.
    leave_queue(flight.line ? *flight.line->client : client);
    if (flight.line) {
      Lane& lane = *flight.line->lane;
      const std::uint64_t tokens = tokens_left(*flight.leader);
      count_tokens(*flight.line, 0, tokens);
      lane.remove(flight);
      lane.insert(line(client, lane), flight);
      count_tokens(*flight.line, tokens, 0);
    }
    left.push_back({let_go(std::move(last)), std::move(why)});
    return;
  }
  left.push_back({end(flight), std::move(why)});
}

void Scheduler::drop_expired(Nanos now, const GivenUp& given_up, std::vector<Outcome>& dropped) {
  while (Request* request = deadlines_.passed(now)) {
    ++counts_.expired;
    Flight& flight = *request->flight;
    if (flight.leader.get() == request) {
      replace_leader(flight, expired("waited"), given_up, dropped);
      continue;
    }
    const auto place = std::find_if(flight.followers.begin(), flight.followers.end(),
                                    [&](const auto& other) { return other.get() == request; });
    CHECK(place != flight.followers.end());
    std::unique_ptr<Request> gone = std::move(*place);
    flight.followers.erase(place);
    leave_queue(shares_.sharer(gone->client));
    dropped.push_back({let_go(std::move(gone)), expired("waited")});
  }
}

void Scheduler::drop_given_up(Flight& flight, const GivenUp& given_up,
                              std::vector<Outcome>& dropped) {
  ++counts_.cancelled;
  replace_leader(flight, gave_up(), given_up, dropped);
}

Decision Scheduler::next(Nanos now, const GivenUp& given_up) {
  CHECK(!running_);
  Decision decision;
  drop_expired(now, given_up, decision.dropped);
  while (!decision.batch) {
    const Choice choice = choose(now);
    if (!choice.line) {
      decision.wake_at = choice.wake_at;
      if (held_ > 0) decision.wake_at = std::min(decision.wake_at, deadlines_.first());
      return decision;
    }
    classes_waiting_ = choice.classes;
    // Nothing, when everybody who could have run has given up; then there are fewer to choose from.
    decision.batch = fill(*choice.line, now, given_up, decision.dropped);
  }
  running_ = true;
  return decision;
}

// Charges the clients of a batch for their tokens' part of its time.
void Scheduler::charge(const Batch& batch, Nanos compute) {
  const Service& service = this->service(batch.service);
  const std::uint32_t which = service.limits.priority;
  const double token_ns =
      static_cast<double>(compute) / std::max(batch.tokens, 1U) / service.limits.weight;
  for (const Slice& slice : batch.slices) {
    const Request& request = *slice.request;
    const std::uint32_t tokens =
        request.offsets[slice.first + slice.count] - request.offsets[slice.first];
    shares_.charge(shares_.sharer(request.client), which, token_ns * tokens);
  }
  classes_.ran(which, classes_waiting_ | 1U << which, compute);
}

// Answers everybody who waits for the flight, which ends.
void Scheduler::answer(Flight& flight, const base::Status& status, Nanos now,
                       const GivenUp& given_up, std::vector<Outcome>& outcomes) {
  const auto ended = [&](const Request& request) -> base::Status {
    if (request.deadline <= now) {  // what was computed after it is an answer too late
      ++counts_.expired;
      return expired("ran");
    }
    ++(status ? counts_.ok : counts_.failed);
    return status;
  };
  std::vector<std::unique_ptr<Request>> followers = std::exchange(flight.followers, {});
  std::unique_ptr<Request> leader = end(flight);
  const Request& computed = *leader;
  outcomes.push_back({std::move(leader), ended(computed)});
  for (std::unique_ptr<Request>& follower : followers) {
    leave_queue(shares_.sharer(follower->client));
    follower->times.follow(computed.times);
    follower->started = computed.started;
    follower->compute = computed.compute;
    follower->share = computed.share;
    follower->batch_texts = computed.batch_texts;
    follower->batch_clients = computed.batch_clients;
    if (given_up(*follower)) {
      ++counts_.cancelled;
      outcomes.push_back({let_go(std::move(follower)), gave_up()});
      continue;
    }
    base::Status how = ended(*follower);
    const Request* rows_of = how ? &computed : nullptr;
    outcomes.push_back({let_go(std::move(follower)), std::move(how), rows_of});
  }
}

std::vector<Outcome> Scheduler::finished(const Batch& batch, const base::Status& status,
                                         Nanos compute, Nanos now, const GivenUp& given_up) {
  CHECK(running_);
  running_ = false;
  charge(batch, compute);
  if (status) lane(*batch.slices[0].request).cost.learn(batch.tokens, compute);
  std::vector<Flight*> over;
  for (const Slice& slice : batch.slices) {
    Flight& flight = *slice.request->flight;
    flight.done = slice.first + slice.count;
    const Request& leader = *flight.leader;
    const bool ends = !status || leader.failed || flight.done == leader.windows();
    if (ends && !flight.over) over.push_back(&flight);
    flight.over |= ends;
  }
  std::vector<Outcome> outcomes;
  outcomes.reserve(over.size());
  for (Flight* flight : over) {
    const std::optional<Error> failed = flight->leader->failed;  // its own reason goes first
    answer(*flight, status && failed ? base::Status(*failed) : status, now, given_up, outcomes);
  }
  return outcomes;
}

std::vector<std::unique_ptr<Request>> Scheduler::take_all() {
  CHECK(!running_);
  std::vector<std::unique_ptr<Request>> all;
  all.reserve(held_);
  while (!flights_.empty()) {
    Flight& flight = *flights_.back();
    for (auto& follower : flight.followers) {
      leave_queue(shares_.sharer(follower->client));
      all.push_back(let_go(std::move(follower)));
    }
    flight.followers.clear();
    all.push_back(end(flight));
  }
  counts_.taken_back += all.size();
  return all;
}

}  // namespace nacelle::sidecar
