// See world.h.
#include "tests/sim/world.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <queue>
#include <sstream>
#include <tuple>
#include <utility>

#include "tests/sim/random.h"

namespace nacelle::sim {
namespace {

using base::Code;
using sidecar::Batch;
using sidecar::Decision;
using sidecar::Outcome;
using sidecar::Request;
using sidecar::Scheduler;
using sidecar::Slice;

constexpr std::size_t kEventsShown = 40;

// A request, as the world knows it.
struct Entry {
  std::size_t client = 0;
  Nanos sent = 0;
  Nanos deadline = 0;
  bool given_up = false;
  bool open = true;
  std::uint32_t service = 0;
  std::uint32_t texts = 0;
  std::uint32_t longest = 0;        // tokens of its longest text
  std::vector<std::uint32_t> rows;  // right ones
  std::vector<std::byte> reply;
};

struct SimClient {
  const Manner* manner = nullptr;
  std::shared_ptr<sidecar::ClientState> state = std::make_shared<sidecar::ClientState>();
  bool dead = false;
  std::uint32_t open = 0;
};

struct Event {
  enum class Kind : std::uint8_t { kCall, kGiveUp, kDeath, kBudget, kBatchEnd, kWake };
  Nanos at = 0;
  std::uint64_t order = 0;  // among those at the same time
  Kind kind = Kind::kCall;
  std::uint64_t what = 0;  // a client, or a request
  bool operator>(const Event& other) const {
    return std::tie(at, order) > std::tie(other.at, other.order);
  }
};

// An event that happened, as a reader of a failure sees it.
struct Note {
  Nanos at = 0;
  const char* what = "";
  std::uint64_t a = 0, b = 0;
};

// The row that the device computes for a text.
std::uint32_t row_of(const std::uint32_t* ids, std::uint32_t count) {
  std::uint32_t hash = 2166136261U;
  for (std::uint32_t i = 0; i < count; ++i) hash = (hash ^ ids[i]) * 16777619U;
  return hash;
}

class World {
 public:
  World(const Plan& plan, std::uint64_t seed)
      : plan_(plan), random_(seed * 2), scheduler_(plan.limits, plan.services) {}

  Result run();

 private:
  void schedule(Nanos at, Event::Kind kind, std::uint64_t what);
  void happen(const Event& event);
  void call(std::size_t index);
  void send(std::size_t index);
  std::unique_ptr<Request> make_request(std::size_t index, std::uint64_t id);
  void decide();
  void start(Batch batch);
  void end_batch();
  void compute(const Batch& batch);
  void answer(Outcome& outcome);
  void check_bounds();
  [[nodiscard]] bool is_full(const Request& request) const;
  void fail_what_does_not_fit(const Batch& batch);
  void check_starvation(std::uint32_t served, Nanos took);
  [[nodiscard]] bool given_up(const Request& request) const {
    const Entry& entry = *entries_[request.generation];
    return entry.given_up || clients_[entry.client].dead;
  }
  void note(const char* what, std::uint64_t a, std::uint64_t b);
  void require(bool good, const char* what);

  const Plan& plan_;
  Random random_;
  Scheduler scheduler_;
  const sidecar::GivenUp given_up_ = [this](const Request& request) { return given_up(request); };
  std::vector<SimClient> clients_;
  std::vector<std::unique_ptr<Entry>> entries_;  // by Request::generation
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  std::uint64_t orders_ = 0;
  Nanos now_ = 0;
  std::uint32_t budget_ = 0;
  std::optional<Batch> running_;
  Nanos started_ = 0;
  base::Status ends_ = base::ok();
  Nanos wake_at_ = base::kNever;
  Nanos longest_batch_ = 0;
  // By class: whether it had something to run besides the batch, and for how long others ran.
  std::array<bool, sidecar::kPriorityClasses> had_work_{};
  std::array<Nanos, sidecar::kPriorityClasses> starved_{};
  std::array<Note, kEventsShown> last_{};
  std::size_t notes_ = 0;
  Result result_;
};

void World::note(const char* what, std::uint64_t a, std::uint64_t b) {
  for (const std::uint64_t number :
       {static_cast<std::uint64_t>(now_), static_cast<std::uint64_t>(what[0]), a, b}) {
    result_.trace = (result_.trace ^ number) * 0x9E3779B97F4A7C15ULL;
    result_.trace ^= result_.trace >> 29U;
  }
  last_[notes_++ % last_.size()] = {now_, what, a, b};
}

void World::require(bool good, const char* what) {
  if (good || !result_.violation.empty()) return;
  std::ostringstream out;
  out << what << "\nat " << now_ << " ns; before that:\n";
  const std::size_t count = std::min(notes_, last_.size());
  for (std::size_t i = notes_ - count; i < notes_; ++i) {
    const Note& note = last_[i % last_.size()];
    out << "  " << note.at << " ns: " << note.what << " " << note.a << ", " << note.b << "\n";
  }
  result_.violation = out.str();
}

void World::schedule(Nanos at, Event::Kind kind, std::uint64_t what) {
  events_.push({at, ++orders_, kind, what});
}

std::unique_ptr<Request> World::make_request(std::size_t index, std::uint64_t id) {
  const Manner& manner = *clients_[index].manner;
  auto request = std::make_unique<Request>();
  request->client = clients_[index].state;
  request->generation = id;
  request->service = random_.from(manner.service_first, manner.service_last);
  request->task = random_.chance(0.8) ? model::Task::kEmbed : model::Task::kClassify;
  request->arrived = now_;
  request->deadline = now_ + random_.from(manner.deadline_min, manner.deadline_max);
  // A favourite has the same texts whoever asks for it.
  const std::uint64_t favourite = manner.favourites > 0 ? random_.from(1U, manner.favourites) : 0;
  Random words(favourite > 0 ? favourite : random_.bits());
  request->texts = words.from(manner.texts_min, manner.texts_max);
  request->offsets.assign(1, 0);
  for (std::uint32_t i = 0; i < request->texts; ++i) {
    // Some texts are bad and have no tokens; the first has.
    const bool bad = i > 0 && words.chance(0.05);
    const std::uint32_t tokens = bad ? 0 : words.from(manner.tokens_min, manner.tokens_max);
    request->offsets.push_back(request->offsets.back() + tokens);
    for (std::uint32_t k = 0; k < tokens; ++k) {
      request->ids.push_back(static_cast<std::uint32_t>(words.bits() % 30'000));
    }
  }
  request->types.assign(request->ids.size(), 0);
  request->plan.width = 1;
  request->plan.size = 4;
  return request;
}

void World::send(std::size_t index) {
  SimClient& client = clients_[index];
  const Manner& manner = *client.manner;
  const std::uint64_t id = entries_.size();
  std::unique_ptr<Request> request = make_request(index, id);
  entries_.push_back(std::make_unique<Entry>());
  Entry& entry = *entries_.back();
  entry.client = index;
  entry.sent = now_;
  entry.deadline = request->deadline;
  entry.service = request->service;
  entry.texts = request->texts;
  for (std::uint32_t i = 0; i < request->texts; ++i) {
    const std::uint32_t tokens = request->tokens(i);
    entry.longest = std::max(entry.longest, tokens);
    entry.rows.push_back(tokens > 0 ? row_of(request->ids.data() + request->offsets[i], tokens)
                                    : 0);
  }
  entry.reply.resize(shm::row_list_size(request->texts, request->plan.size, false));
  request->reply = entry.reply;
  ++client.open;
  ++result_.sent;
  ++result_.clients[index].sent;
  note("sends client, request", index, id);

  const bool full = is_full(*request);
  sidecar::Refusal refusal = scheduler_.add(std::move(request));
  if (refusal) {
    note("is busy for", index, id);
    require(full, "refused, but there is room");
    require(refusal.why.code == Code::kBusy && refusal.retry_after > 0, "a refusal without a hint");
    entry.open = false;
    --client.open;
    ++result_.busy;
    return;
  }
  if (random_.chance(manner.gives_up)) {
    schedule(now_ + random_.from(Nanos{0}, manner.patience), Event::Kind::kGiveUp, id);
  }
}

// Whether a limit is reached; one that follows another is taken nevertheless.
bool World::is_full(const Request& request) const {
  const sidecar::ServiceLimits& limits = plan_.services[request.service];
  const std::uint64_t waiting = scheduler_.waiting(request.service);
  const std::uint64_t running = scheduler_.running(request.service);
  const std::uint64_t room =
      limits.max_concurrent == sidecar::kNoLimit ? 0 : limits.max_concurrent - running;
  // A client must leave as much as it has, and may not have more than its part of a long wait.
  std::uint64_t waiting_clients = 0;
  for (const auto& client : clients_) {
    waiting_clients += scheduler_.queued_requests(*client.state) > 0 ? 1U : 0U;
  }
  const std::uint64_t queued = scheduler_.queued_requests();
  const std::uint64_t tokens = scheduler_.queued_tokens();
  const std::uint64_t own = scheduler_.queued_requests(*request.client);
  const std::uint64_t own_tokens = scheduler_.queued_tokens(*request.client);
  return queued + std::max<std::uint64_t>(own, 1) > plan_.limits.queue_requests_max ||
         (tokens > 0 && tokens + own_tokens + request.ids.size() > plan_.limits.queue_tokens_max) ||
         (plan_.limits.queue_time_max > 0 && own > 0 && waiting_clients > 1 &&
          scheduler_.queue_time() > plan_.limits.queue_time_max &&
          static_cast<double>(scheduler_.queue_time()) * static_cast<double>(own_tokens) *
                  static_cast<double>(waiting_clients) >=
              0.999 * static_cast<double>(plan_.limits.queue_time_max) *
                  static_cast<double>(tokens)) ||
         (limits.max_queue_size != sidecar::kNoLimit && waiting >= room + limits.max_queue_size);
}

// A class that has work gets the device before the others have had so much of it.
void World::check_starvation(std::uint32_t served, Nanos took) {
  for (std::uint32_t k = 0; k < sidecar::kPriorityClasses; ++k) {
    starved_[k] = k == served || !had_work_[k] ? 0 : starved_[k] + took;
    const double turns = 2 * ((sidecar::Classes::kDebtMax + 1) / sidecar::Classes::kEarns[k] + 2);
    require(static_cast<double>(starved_[k]) <= turns * static_cast<double>(longest_batch_) +
                                                    static_cast<double>(plan_.limits.max_delay),
            "a class starves");
  }
}

void World::call(std::size_t index) {
  SimClient& client = clients_[index];
  if (client.dead) return;
  for (std::uint32_t i = 0; i < client.manner->burst && client.open < client.manner->open_max;
       ++i) {
    send(index);
  }
  const Nanos next = now_ + random_.wait(client.manner->per_second);
  if (next < plan_.duration) schedule(next, Event::Kind::kCall, index);
}

void World::happen(const Event& event) {
  switch (event.kind) {
    case Event::Kind::kCall:
      call(event.what);
      break;
    case Event::Kind::kGiveUp:
      if (entries_[event.what]->open) {
        entries_[event.what]->given_up = true;
        note("gives up", event.what, 0);
      }
      break;
    case Event::Kind::kDeath:
      clients_[event.what].dead = true;
      note("dies", event.what, 0);
      break;
    case Event::Kind::kBudget:
      budget_ = random_.from(plan_.limits.batch_tokens_max / 4, plan_.limits.batch_tokens_max);
      scheduler_.set_batch_tokens(budget_);
      note("has memory for tokens:", budget_, 0);
      if (now_ < plan_.duration) {
        schedule(now_ + random_.wait(20), Event::Kind::kBudget, 0);
      }
      break;
    case Event::Kind::kBatchEnd:
      end_batch();
      break;
    case Event::Kind::kWake:
      break;
  }
}

// Writes the rows of a batch, each once.
void World::compute(const Batch& batch) {
  for (const Slice& slice : batch.slices) {
    Request& request = *slice.request;
    if (request.failed) continue;
    const Entry& entry = *entries_[request.generation];
    for (std::uint32_t i = slice.first; i < slice.first + slice.count; ++i) {
      const std::uint32_t row = row_of(request.ids.data() + request.offsets[i], request.tokens(i));
      if (request.tokens(i) == 0) continue;
      std::uint32_t there = 0;
      std::memcpy(&there, request.row(i), sizeof there);
      require(there == 0 || row == 0, "a text is computed twice");
      std::memcpy(request.row(i), &row, sizeof row);
      ++result_.texts;
      ++result_.clients[entry.client].texts;
    }
  }
}

// What the executor does when memory is out: halves run, and what does not fit alone has failed.
void World::fail_what_does_not_fit(const Batch& batch) {
  for (const Slice& slice : batch.slices) {
    Request& request = *slice.request;
    for (std::uint32_t i = slice.first; i < slice.first + slice.count; ++i) {
      if (request.tokens(i) <= plan_.device.memory_tokens) continue;
      request.failed = base::Error{Code::kTooLarge, "no memory"};
    }
    if (random_.chance(plan_.device.memory_fails)) {
      request.failed = base::Error{Code::kTooLarge, "no memory"};
    }
  }
}

void World::start(Batch batch) {
  ++result_.batches;
  result_.windows_tokens += batch.tokens;
  note("starts service, tokens:", batch.service, batch.tokens);
  require(batch.texts > 0, "an empty batch");
  require(batch.texts == 1 || batch.tokens <= budget_, "a batch over its budget");
  std::uint32_t tokens = 0;
  for (const Slice& slice : batch.slices) {
    const Request& request = *slice.request;
    const Entry& entry = *entries_[request.generation];
    require(request.service == batch.service && request.task == batch.task, "a mixed batch");
    require(entry.open, "an answered request runs");
    require(request.deadline > now_, "expired work starts");
    require(!given_up(request), "work starts that was given up");
    tokens += request.offsets[slice.first + slice.count] - request.offsets[slice.first];
  }
  require(tokens == batch.tokens, "the tokens of a batch are miscounted");

  const Device& device = plan_.device;
  Nanos time = device.fixed + device.token * batch.tokens;
  if (random_.chance(device.slow)) time *= 10;
  ends_ = base::ok();
  if (random_.chance(device.fails)) {
    ends_ = base::Error{Code::kUnavailable, "the device failed"};
  } else {
    fail_what_does_not_fit(batch);
  }
  had_work_ = {};
  for (std::size_t i = 0; i < plan_.services.size(); ++i) {
    const sidecar::ServiceLimits& limits = plan_.services[i];
    had_work_[limits.priority] |=
        scheduler_.waiting(i) > 0 && scheduler_.running(i) < limits.max_concurrent;
  }
  running_ = std::move(batch);
  started_ = now_;
  longest_batch_ = std::max(longest_batch_, time);
  schedule(now_ + time, Event::Kind::kBatchEnd, 0);
}

void World::end_batch() {
  const Batch batch = *std::exchange(running_, std::nullopt);
  const Nanos took = now_ - started_;
  result_.busy_ns += took;
  check_starvation(plan_.services[batch.service].priority, took);
  if (ends_) compute(batch);
  for (const Slice& slice : batch.slices) {
    const Request& request = *slice.request;
    const std::uint32_t tokens =
        request.offsets[slice.first + slice.count] - request.offsets[slice.first];
    result_.clients[entries_[request.generation]->client].compute_ns +=
        static_cast<double>(took) * tokens / batch.tokens;
  }
  std::vector<Outcome> outcomes = scheduler_.finished(batch, ends_, took, now_, given_up_);
  note(ends_ ? "computes" : "fails", static_cast<std::uint64_t>(took), outcomes.size());
  for (const Outcome& outcome : outcomes) {
    if (outcome.rows_of) sidecar::copy_rows(*outcome.rows_of, *outcome.request);
  }
  for (Outcome& outcome : outcomes) answer(outcome);
}

void World::answer(Outcome& outcome) {
  Entry& entry = *entries_[outcome.request->generation];
  const Code code = outcome.status ? Code::kOk : outcome.status.error().code;
  note("answers with", outcome.request->generation, static_cast<std::uint64_t>(code));
  require(entry.open, "a second answer");
  entry.open = false;
  --clients_[entry.client].open;
  switch (code) {
    case Code::kOk: {
      ++result_.ok;
      require(now_ < entry.deadline, "a good answer after the deadline");
      const std::byte* rows = outcome.request->row(0);
      require(std::memcmp(rows, entry.rows.data(), entry.rows.size() * 4) == 0, "wrong rows");
      result_.clients[entry.client].latencies.push_back(now_ - entry.sent);
      break;
    }
    case Code::kDeadlineExceeded:
      ++result_.expired;
      require(now_ >= entry.deadline, "expired before its deadline");
      require(now_ <= entry.deadline + longest_batch_ + 1, "an expired request was left to wait");
      break;
    case Code::kCancelled:
      ++result_.cancelled;
      require(given_up(*outcome.request), "cancelled, but nobody gave it up");
      break;
    case Code::kTooLarge:
      ++result_.failed;
      ++result_.too_large;
      require(entry.longest > plan_.device.memory_tokens || plan_.device.memory_fails > 0,
              "too large, but every text of it fits");
      break;
    default:
      ++result_.failed;
      require(plan_.device.fails > 0, "failed on a device that does not");
  }
  entry.reply = {};
  entry.rows = {};
}

void World::decide() {
  if (running_) return;
  Decision decision = scheduler_.next(now_, given_up_);
  for (Outcome& outcome : decision.dropped) answer(outcome);
  if (decision.batch) return start(*std::move(decision.batch));
  if (scheduler_.held_requests() == 0) return;
  require(decision.wake_at != base::kNever && decision.wake_at > now_, "the scheduler fell asleep");
  require(plan_.limits.max_delay > 0, "work waits beside a free device");
  if (decision.wake_at != wake_at_) schedule(decision.wake_at, Event::Kind::kWake, 0);
  wake_at_ = decision.wake_at;
}

void World::check_bounds() {
  require(scheduler_.queued_requests() <= plan_.limits.queue_requests_max, "too many are queued");
  std::uint64_t requests = 0;
  std::uint64_t tokens = 0;
  for (const auto& client : clients_) {
    requests += scheduler_.queued_requests(*client.state);
    tokens += scheduler_.queued_tokens(*client.state);
  }
  require(requests == scheduler_.queued_requests() && tokens == scheduler_.queued_tokens(),
          "the clients' parts of the queue are not the queue");
  for (std::size_t i = 0; i < plan_.services.size(); ++i) {
    const sidecar::ServiceLimits& limits = plan_.services[i];
    const std::uint64_t running = scheduler_.running(i);
    const std::uint64_t waiting = scheduler_.waiting(i);
    require(running <= limits.max_concurrent, "too many of a service run");
    const std::uint64_t room =
        limits.max_concurrent == sidecar::kNoLimit ? 0 : limits.max_concurrent - running;
    require(limits.max_queue_size == sidecar::kNoLimit || waiting <= room + limits.max_queue_size,
            "too many of a service wait");
  }
}

Result World::run() {
  budget_ = plan_.limits.batch_tokens_max;
  for (const Manner& manner : plan_.manners) {
    for (std::uint32_t i = 0; i < manner.clients; ++i) {
      const std::size_t index = clients_.size();
      clients_.emplace_back();
      clients_.back().manner = &manner;
      result_.clients.emplace_back();
      result_.clients.back().manner = manner.name;
      schedule(random_.wait(manner.per_second), Event::Kind::kCall, index);
      if (manner.lives != base::kNever) schedule(manner.lives, Event::Kind::kDeath, index);
    }
  }
  if (plan_.budget_changes) schedule(0, Event::Kind::kBudget, 0);
  while (!events_.empty() && result_.violation.empty()) {
    const Event event = events_.top();
    events_.pop();
    now_ = event.at;
    happen(event);
    check_bounds();
    decide();
    check_bounds();
  }
  result_.ended = now_;
  const sidecar::SchedulerCounts& counts = scheduler_.counts();
  result_.shared = counts.shared;
  require(scheduler_.held_requests() == 0 && scheduler_.queued_requests() == 0 &&
              scheduler_.queued_tokens() == 0,
          "something is left");
  require(std::none_of(entries_.begin(), entries_.end(), [](const auto& e) { return e->open; }),
          "a request has no answer");
  require(result_.sent ==
              result_.ok + result_.failed + result_.busy + result_.expired + result_.cancelled,
          "answers do not add up");
  require(counts.taken + counts.busy == result_.sent && counts.ok == result_.ok &&
              counts.failed == result_.failed && counts.busy == result_.busy &&
              counts.expired == result_.expired && counts.cancelled == result_.cancelled,
          "the scheduler counted otherwise");
  return std::move(result_);
}

}  // namespace

Result simulate(const Plan& plan, std::uint64_t seed) { return World(plan, seed).run(); }

void add(Result& all, const Result& day) {
  all.trace = (all.trace ^ day.trace) * 0x9E3779B97F4A7C15ULL;
  for (const auto count :
       {&Result::sent, &Result::ok, &Result::failed, &Result::too_large, &Result::busy,
        &Result::expired, &Result::cancelled, &Result::shared, &Result::batches}) {
    all.*count += day.*count;
  }
  all.ended += day.ended;
}

Nanos quantile(std::vector<Nanos> latencies, double share) {
  if (latencies.empty()) return 0;
  const auto place = static_cast<std::size_t>(share * static_cast<double>(latencies.size() - 1));
  std::nth_element(latencies.begin(), latencies.begin() + static_cast<std::ptrdiff_t>(place),
                   latencies.end());
  return latencies[place];
}

}  // namespace nacelle::sim
