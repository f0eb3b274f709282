// Requests that want the same computation, as one: single flight.
//
// A request leads; later ones with the same answer follow. The leader's tokens are computed, into
// its reply; when that is done every follower gets a copy of the rows. A leader that leaves early
// is succeeded by a follower, which inherits the tokens and what was computed so far.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "sidecar/flow.h"

namespace nacelle::sidecar {

struct Line;

struct Flight {
  std::unique_ptr<Request> leader;
  // Oldest first. Their tokens are gone: they are the leader's.
  std::vector<std::unique_ptr<Request>> followers;

  std::uint64_t key = 0;    // answer_key() of all of them
  bool listed = false;      // in the table
  bool started = false;     // some of its windows were in a batch
  Line* line = nullptr;     // waits in it; null when all windows are in batches
  std::uint32_t done = 0;   // windows that are computed
  bool over = false;        // with the batch that has just run
  std::uint64_t batch = 0;  // the last batch that it was put into
  std::size_t place = 0;    // in the scheduler's list of flights
};

// A digest of everything that decides the reply's rows: service, task, plan, tokens and windows.
std::uint64_t answer_key(const Request& request);
// Whether the two have the same rows, byte for byte. Compares what answer_key() digests.
bool same_answer(const Request& a, const Request& b);

// Copies the rows that were computed from one request to another with the same answer; one of the
// two has the tokens. The other rows, of texts that failed or were in the cache, and what is said
// about the texts (shm::ItemReport) are each request's own.
void copy_rows(const Request& from, const Request& to);

// Makes `next`, which had the same answer as the leader of `flight`, its leader; returns the old
// one, without tokens.
std::unique_ptr<Request> succeed(Flight& flight, std::unique_ptr<Request> next);

// Flights by their answer.
class FlightTable {
 public:
  // The flight whose answer the request could share, or null.
  [[nodiscard]] Flight* find(std::uint64_t key, const Request& request) const;
  // Lists the flight, unless another one with this key is: then it flies for itself.
  void add(Flight& flight);
  void remove(Flight& flight);

 private:
  std::unordered_map<std::uint64_t, Flight*> flights_;
};

}  // namespace nacelle::sidecar
