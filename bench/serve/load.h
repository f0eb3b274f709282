// The nouns of the load generator: what is asked of a server and when, and what became of it.
//
//   Load      rates, processes and connections            main.cc reads it from the command line
//   Arrival   one request that is due at a moment         schedule.h makes them from a seed
//   Record    what became of it                           client.h writes it, in shared memory
//   report    counts, percentiles, goodput over time      account.h
//
// Open loop: a request is due when the schedule says so, whatever became of the ones before, and
// its latency counts from then. So a stall of the server, or of the generator, shows in the
// latency of every request that it delayed (no coordinated omission).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sidecar/base/time.h"

namespace nacelle::bench::serve {

enum class Pattern : std::uint8_t {
  kPoisson,  // independent arrivals
  kBurst,    // `burst` requests of a process at the same moment; the moments are Poisson
  kClosed,   // no schedule: each process keeps `in_flight` requests under way
};

// A span of time with one rate.
struct Phase {
  double rate = 0;           // requests per second, all processes together; kClosed ignores it
  base::Nanos duration = 0;  // at least 1 ms
};

struct Load {
  Pattern pattern = Pattern::kPoisson;
  std::vector<Phase> phases;      // one after the other; kClosed has one
  std::uint32_t burst = 16;       // kBurst
  std::uint32_t in_flight = 1;    // kClosed: per process
  std::uint32_t processes = 1;    // of which each has a part of the rate
  std::uint32_t connections = 1;  // per process, used in turn
  std::uint64_t seed = 1;
  base::Nanos timeout = 0;            // of a request, from when it was due; 0: the server's default
  base::Nanos grace = base::kSecond;  // after the last phase; what is still open then is lost
  double cancel_share = 0;            // of requests: given up `cancel_after` when they were due
  base::Nanos cancel_after = base::kMillisecond;

  [[nodiscard]] base::Nanos duration() const {
    base::Nanos sum = 0;
    for (const Phase& phase : phases) sum += phase.duration;
    return sum;
  }
};

// All times count from the start of the load.
struct Arrival {
  base::Nanos due = 0;
  std::uint32_t text = 0;   // index
  std::uint16_t phase = 0;  // index
  bool cancel = false;
  bool operator==(const Arrival&) const = default;
};

enum class Outcome : std::uint8_t {
  kUnused,     // room for a record that no request took (kClosed)
  kLost,       // no answer of any kind: until one comes, and for ever when its process dies
  kOk,         // answered in full, and rightly
  kBusy,       // refused for lack of room, by the server or by the connection to it
  kDeadline,   // not answered in time
  kCancelled,  // given up by us before there was an answer
  kFailed,     // any other answer, and a wrong one
};

struct Record {
  base::Nanos due = 0;
  base::Nanos sent = 0;              // 0: never, its deadline passed first
  base::Nanos done = 0;              // when the answer was seen
  std::uint32_t retry_after_us = 0;  // of kBusy; 0: none
  std::uint16_t phase = 0;
  Outcome outcome = Outcome::kUnused;
};

// Records of one run, all processes together: 160 MB.
inline constexpr std::uint64_t kRecordsMax = 4'000'000;
// Room for a closed load, per second: far more than is answered.
inline constexpr std::uint64_t kClosedRecordsPerSecond = 200'000;

}  // namespace nacelle::bench::serve
