// The scheduler's choice: whose turn it is, and what runs with it.
//
// A decision looks at every line that is not empty, and there is one per client, service and task;
// it never looks through what is queued in them.
#include <algorithm>
#include <array>
#include <iterator>
#include <tuple>
#include <utility>
#include <vector>

#include "sidecar/base/check.h"
#include "sidecar/scheduler.h"

namespace nacelle::sidecar {
namespace {

using base::Nanos;

// How many requests behind the first of a line are tried for what is left of a batch.
constexpr std::size_t kFurtherMax = 8;
// Of a short batch's time, the tokens' part is at least this: what it costs the device's
// throughput.
constexpr double kShortShare = 0.8;
// The same of a batch that is short because of a latency target.
constexpr double kLeastShare = 0.5;
// A short batch is no shorter than this part of the budget.
constexpr std::uint32_t kShortPart = 32;

}  // namespace

// The first of a line that has begun may always go on; a new one needs a place in its service.
bool Scheduler::can_run(const Line& line) const {
  const Service& service = services_[line.lane->service];
  return line.flights.front()->started || service.running < service.limits.max_concurrent;
}

std::uint32_t Scheduler::budget(const Lane& lane) const {
  const Nanos target = services_[lane.service].limits.latency_target;
  if (target == 0 || !lane.cost.known()) return batch_tokens_;
  // A request may find a batch running that has just begun, and needs one itself.
  // A target that cannot be kept is no reason for batches that are mostly fixed cost.
  const std::uint32_t tokens =
      std::max(lane.cost.tokens_within(target / 2), lane.cost.tokens_for_share(kLeastShare));
  return std::clamp(tokens, 1U, batch_tokens_);
}

// When the lane's next batch should start.
Nanos Scheduler::starts_at(const Lane& lane) const {
  if (limits_.max_delay == 0 || lane.tokens >= budget(lane)) return 0;
  Nanos oldest = base::kNever;
  for (const Line* line : lane.lines) {
    const Flight& first = *line->flights.front();
    if (first.started) return 0;  // its first batch has paid the delay
    oldest = std::min(oldest, first.leader->arrived);
  }
  return wait_until({.oldest = oldest,
                     .tokens = lane.tokens,
                     .max_delay = limits_.max_delay,
                     .latency_target = services_[lane.service].limits.latency_target},
                    lane.arrivals, lane.cost);
}

// Those with credit take turns, and then those without.
bool Scheduler::goes_before(const Line& a, const Line& b, std::uint32_t priority) const {
  const auto key = [&](const Line& line) {
    return std::tuple(!shares_.has_credit(*line.client, priority), line.client->turn,
                      line.flights.front()->leader->order);
  };
  return key(a) < key(b);
}

Scheduler::Choice Scheduler::choose(Nanos now) {
  Choice choice;
  std::array<Line*, kPriorityClasses> first{};
  std::array<double, kPriorityClasses> least{};
  for (const auto& lane : lanes_) {
    if (!lane || lane->lines.empty()) continue;
    if (const Nanos start = starts_at(*lane); start > now) {
      choice.wake_at = std::min(choice.wake_at, start);
      continue;
    }
    const std::uint32_t priority = services_[lane->service].limits.priority;
    for (Line* line : lane->lines) {
      if (!can_run(*line)) continue;
      const double used = line->client->accounts[priority].used_ns;
      Line*& best = first[priority];
      least[priority] = best ? std::min(least[priority], used) : used;
      if (!best || goes_before(*line, *best, priority)) best = line;
      choice.classes |= 1U << priority;
    }
  }
  if (choice.classes == 0) return choice;
  const std::size_t priority = classes_.pick(choice.classes);
  choice.line = first[priority];
  if (!shares_.has_credit(*choice.line->client, priority)) {
    shares_.raise_level(priority, least[priority]);
    // The one that uses least now has credit, and so may be others: look once more.
    Choice again = choose(now);
    again.classes = choice.classes;
    return again;
  }
  return choice;
}

// Puts as many of the flight's next windows into the batch as fit.
void Scheduler::add_slice(Flight& flight, std::uint32_t tokens_max, Batch& batch, Nanos now) {
  Request& request = *flight.leader;
  Slice slice{&request, request.next, 0};
  std::uint32_t texts = 0;
  std::uint32_t tokens = 0;
  while (request.next < request.windows()) {
    const std::uint32_t window = request.tokens(request.next);
    // The first window of a batch always fits: the limit is checked against every model at start.
    if (window > 0 && batch.texts + texts > 0 && batch.tokens + tokens + window > tokens_max) break;
    tokens += window;
    texts += window > 0 ? 1U : 0U;
    ++request.next;
  }
  if (texts == 0) {
    request.next = slice.first;  // windows without tokens go with the next that has some
    return;
  }
  slice.count = request.next - slice.first;
  batch.tokens += tokens;
  batch.texts += texts;
  batch.slices.push_back(slice);
  count_tokens(*flight.line, 0, tokens);
  Sharer& client = *flight.line->client;
  if (client.batch != batches_) ++batch.clients;
  client.batch = batches_;
  if (flight.line->flights.front() == &flight) client.turn = batches_;
  if (!flight.started) {
    flight.started = true;
    request.started = now;
    Service& service = services_[request.service];
    --service.waiting;
    ++service.running;
  }
  if (request.next == request.windows()) {
    flight.line->lane->remove(flight);
    leave_queue(client);
  }
}

// Puts a line's flights into the batch until that has tokens_max.
void Scheduler::take(Line& line, std::uint32_t tokens_max, bool look_further, Batch& batch,
                     Nanos now, const GivenUp& given_up, std::vector<Outcome>& dropped) {
  const Service& service = services_[line.lane->service];
  std::size_t index = 0;
  while (index < line.flights.size() && index <= kFurtherMax &&
         (batch.texts == 0 || batch.tokens < tokens_max)) {
    Flight& flight = *line.flights[index];
    const Request& request = *flight.leader;
    if (!flight.started && service.running >= service.limits.max_concurrent) return;
    const std::uint64_t left = request.offsets.back() - request.offsets[request.next];
    const bool fits = batch.texts == 0 || batch.tokens + left <= tokens_max;
    // Behind the first one, which is in parts, only what goes as a whole: nobody is begun twice.
    if (index > 0 && !fits) {
      ++index;
      continue;
    }
    if (flight.batch != batches_ && given_up(request)) {
      drop_given_up(flight, given_up, dropped);
      continue;  // another one is at this place now
    }
    const std::uint32_t before = request.next;
    add_slice(flight, tokens_max, batch, now);
    if (request.next != before) flight.batch = batches_;
    if (flight.line == nullptr) continue;
    if (!look_further) return;
    ++index;
  }
}

// The batch that the lead's turn is for. Everybody with credit gets an equal part of it first, then
// what is left, and then the same for those without.
std::optional<Batch> Scheduler::fill(Line& lead, Nanos now, const GivenUp& given_up,
                                     std::vector<Outcome>& dropped) {
  Lane& lane = *lead.lane;
  const std::uint32_t priority = services_[lane.service].limits.priority;
  Batch batch;
  batch.service = lane.service;
  batch.task = lane.task;
  batch.raw = lane.raw;
  ++batches_;

  std::vector<Line*> lines;
  lines.reserve(lane.lines.size());
  std::copy_if(lane.lines.begin(), lane.lines.end(), std::back_inserter(lines),
               [&](const Line* line) { return can_run(*line); });
  std::sort(lines.begin(), lines.end(),
            [&](const Line* a, const Line* b) { return goes_before(*a, *b, priority); });
  const auto split = std::partition_point(lines.begin(), lines.end(), [&](const Line* line) {
    return shares_.has_credit(*line->client, priority);
  });

  const std::uint32_t whole = budget(lane);
  const Shares::Expected expected = shares_.expected(priority, now);
  const std::uint32_t brief = std::min(
      whole, std::max(batch_tokens_ / kShortPart, lane.cost.tokens_for_share(kShortShare)));
  const auto most = [&](const Line& line) {
    return shares_.gives_way(*line.client, priority, expected) ? brief : whole;
  };
  for (const auto& [begin, end] :
       {std::pair(lines.begin(), split), std::pair(split, lines.end())}) {
    const auto count = static_cast<std::uint32_t>(end - begin);
    if (count == 0) continue;
    const std::uint32_t part = (whole - std::min(batch.tokens, whole)) / count;
    for (auto line = begin; line != end; ++line) {
      take(**line, std::min(batch.tokens + part, most(**line)), false, batch, now, given_up,
           dropped);
    }
    for (auto line = begin; line != end; ++line) {
      take(**line, most(**line), true, batch, now, given_up, dropped);
    }
  }
  if (batch.texts == 0) return std::nullopt;
  return batch;
}

}  // namespace nacelle::sidecar
