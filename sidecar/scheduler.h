// Decides what runs next. Pure: what happens and when are parameters, decisions come out, nothing
// sleeps, nothing is locked. docs/decisions/0019 says why it decides as it does.
//
//   add()       a request comes: joins a computation that is under way for the same answer, waits
//   in
//               its line, or is refused by the limit that it would break
//   next()      the device is free: the batch to run now, or when to ask again
//   finished()  a batch has run: who is answered with what
//
// The parts, each on its own in sidecar/schedule/:
//
//   flight.h     identical requests, computed once      lane.h       what can share a batch
//   shares.h     fair shares of the device's time       classes.h    priorities that age
//   window.h     whether waiting for company pays       cost.h       what batches cost, learnt
//   deadlines.h  what has expired
//
// Requests belong to the scheduler from add() until they come out of next() or finished() with
// their one answer. Batches point at them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sidecar/base/time.h"
#include "sidecar/flow.h"
#include "sidecar/schedule/classes.h"
#include "sidecar/schedule/deadlines.h"
#include "sidecar/schedule/flight.h"
#include "sidecar/schedule/lane.h"
#include "sidecar/schedule/shares.h"

namespace nacelle::sidecar {

inline constexpr std::uint32_t kNoLimit = UINT32_MAX;

// Of all services together.
struct SchedulerLimits {
  std::uint32_t batch_tokens_max = 4096;  // at least the tokens of the longest text
  base::Nanos max_delay = 0;              // 0: never wait for company
  // Requests that wait: for a batch, or for a leader. Of both limits a client may hold no more than
  // it leaves free.
  std::uint32_t queue_requests_max = 1024;
  std::uint64_t queue_tokens_max = 1 << 20;  // their tokens; a single request may exceed it alone
  // When computing what waits takes longer than this, clients that have their equal part of it get
  // no more in, unless they are alone. 0: no bound.
  base::Nanos queue_time_max = 0;
  base::Nanos burst = 500 * base::kMillisecond;  // compute time that an idle client may save up
};

// Of one service. Requests that follow another one's computation count in none of them.
struct ServiceLimits {
  std::string name = {};                    // for messages
  std::uint32_t max_concurrent = kNoLimit;  // at least 1: requests begun and not answered yet
  // Requests that wait beyond those for which max_concurrent has room right now.
  std::uint32_t max_queue_size = kNoLimit;
  std::uint32_t priority = 1;      // class: 0 is the highest, below kPriorityClasses
  std::uint32_t weight = 1;        // at least 1: its clients are charged a weight-th of their time
  base::Nanos latency_target = 0;  // from arrival to answer; 0: none
};

// A request that is not taken, why, and when trying again makes sense.
struct Refusal {
  std::unique_ptr<Request> request;  // null: it was taken
  base::Error why;
  base::Nanos retry_after = 0;
  explicit operator bool() const { return request != nullptr; }
};

// What the executor should do now.
struct Decision {
  std::optional<Batch> batch;          // run this, then tell finished()
  std::vector<Outcome> dropped;        // answer these: expired, or their client left
  base::Nanos wake_at = base::kNever;  // without a batch: ask again then, or when a request comes
};

// Every request that came, by what became of it:
//   taken + busy = ok + failed + busy + expired + cancelled + taken_back + held_requests()
struct SchedulerCounts {
  std::uint64_t taken = 0;
  std::uint64_t busy = 0;
  std::uint64_t ok = 0;
  std::uint64_t failed = 0;  // with the error of their batch
  std::uint64_t expired = 0;
  std::uint64_t cancelled = 0;
  std::uint64_t taken_back = 0;  // by take_all()
  std::uint64_t shared = 0;      // of those taken: joined another one's computation
};

// Whether a request's client is no longer interested.
using GivenUp = std::function<bool(const Request&)>;

class Scheduler {
 public:
  // Services that are not listed have no limits of their own.
  explicit Scheduler(const SchedulerLimits& limits, std::vector<ServiceLimits> services = {});

  // Takes a request that has at least one text with tokens, or gives it back.
  [[nodiscard]] Refusal add(std::unique_ptr<Request> request);

  // Whether add() would refuse any request of this client now, whatever it asks.
  [[nodiscard]] std::optional<Refusal> refuses(const ClientState& client) const;

  // Call when the device is free: after finished() of the batch before. `given_up` is asked about
  // requests that would run now.
  [[nodiscard]] Decision next(base::Nanos now, const GivenUp& given_up);

  // The batch has taken the device for `compute` and ended at `now`. A request with Request::failed
  // fails by itself, an error fails all requests in the batch. Outcomes with Outcome::rows_of get
  // their rows copied before any of them is answered.
  [[nodiscard]] std::vector<Outcome> finished(const Batch& batch, const base::Status& status,
                                              base::Nanos compute, base::Nanos now,
                                              const GivenUp& given_up);

  // What memory allows for now, at most batch_tokens_max. A longer text runs alone.
  void set_batch_tokens(std::uint32_t tokens);
  [[nodiscard]] std::uint32_t batch_tokens() const { return batch_tokens_; }

  // Takes every request out: the end of a drain that ran out of time. No batch is running.
  [[nodiscard]] std::vector<std::unique_ptr<Request>> take_all();

  // Requests that no batch holds completely, and those that follow another one.
  [[nodiscard]] std::size_t queued_requests() const { return queued_; }
  [[nodiscard]] std::uint64_t queued_tokens() const { return queued_tokens_; }
  // Of one client.
  [[nodiscard]] std::size_t queued_requests(const ClientState& client) const;
  [[nodiscard]] std::uint64_t queued_tokens(const ClientState& client) const;
  // How long computing what waits will take, as far as costs are known.
  [[nodiscard]] base::Nanos queue_time() const;
  // Requests that were taken and not yet answered.
  [[nodiscard]] std::size_t held_requests() const { return held_; }
  // Of a service: requests begun and not answered, and those that have not begun.
  [[nodiscard]] std::uint32_t running(std::size_t service) const;
  [[nodiscard]] std::uint32_t waiting(std::size_t service) const;
  [[nodiscard]] const SchedulerCounts& counts() const { return counts_; }

 private:
  struct Service {
    ServiceLimits limits;
    std::uint32_t running = 0;
    std::uint32_t waiting = 0;
  };
  // Whose turn it is.
  struct Choice {
    Line* line = nullptr;                // null: nobody's
    std::uint32_t classes = 0;           // that have something to run
    base::Nanos wake_at = base::kNever;  // when a batch that waits for company starts
  };

  // scheduler.cc: events
  Service& service(std::size_t index);
  Lane& lane(const Request& request);
  static Line& line(Sharer& client, Lane& lane);
  [[nodiscard]] base::Nanos retry_after() const;
  void leave_queue(Sharer& client);
  void count_tokens(Line& line, std::uint64_t more, std::uint64_t less);
  [[nodiscard]] std::optional<std::string> queue_full(const Sharer& client,
                                                      std::uint64_t tokens) const;
  [[nodiscard]] bool waits_too_long(const Sharer& client) const;
  [[nodiscard]] static std::optional<std::string> service_full(const Service& service);
  [[nodiscard]] std::unique_ptr<Request> let_go(std::unique_ptr<Request> request);
  [[nodiscard]] std::unique_ptr<Request> end(Flight& flight);
  void replace_leader(Flight& flight, base::Error why, const GivenUp& given_up,
                      std::vector<Outcome>& left);
  void drop_expired(base::Nanos now, const GivenUp& given_up, std::vector<Outcome>& dropped);
  void drop_given_up(Flight& flight, const GivenUp& given_up, std::vector<Outcome>& dropped);
  void charge(const Batch& batch, base::Nanos compute);
  void answer(Flight& flight, const base::Status& status, base::Nanos now, const GivenUp& given_up,
              std::vector<Outcome>& outcomes);

  // choice.cc: which batch
  [[nodiscard]] bool can_run(const Line& line) const;
  [[nodiscard]] std::uint32_t budget(const Lane& lane) const;
  [[nodiscard]] base::Nanos starts_at(const Lane& lane) const;
  [[nodiscard]] bool goes_before(const Line& a, const Line& b, std::uint32_t priority) const;
  Choice choose(base::Nanos now);
  std::optional<Batch> fill(Line& lead, base::Nanos now, const GivenUp& given_up,
                            std::vector<Outcome>& dropped);
  void take(Line& line, std::uint32_t tokens_max, bool look_further, Batch& batch, base::Nanos now,
            const GivenUp& given_up, std::vector<Outcome>& dropped);
  void add_slice(Flight& flight, std::uint32_t tokens_max, Batch& batch, base::Nanos now);

  SchedulerLimits limits_;
  std::uint32_t batch_tokens_;
  std::vector<Service> services_;
  std::vector<std::unique_ptr<Lane>> lanes_;  // by Lane::index(); null where nothing ever came
  Shares shares_;
  Classes classes_;
  FlightTable table_;
  Deadlines deadlines_;
  std::vector<std::unique_ptr<Flight>> flights_;  // in no order
  std::uint64_t batches_ = 0;                     // made so far
  bool running_ = false;                          // a batch is on the device
  std::uint32_t classes_waiting_ = 0;             // when it was chosen
  std::size_t held_ = 0;
  std::size_t queued_ = 0;
  std::size_t waiting_clients_ = 0;  // that have some of those
  std::uint64_t queued_tokens_ = 0;
  SchedulerCounts counts_;
};

}  // namespace nacelle::sidecar
