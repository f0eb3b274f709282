// A world in which the real scheduler runs, simulated: a virtual clock, a device that is a formula,
// and clients with manners. Everything random comes from one seed, so a run can be had again.
//
// The world keeps its own ledger of every request and checks after every event that
//
//   - nothing is over its bound (queues, tokens, requests of a service, tokens of a batch), and
//     nothing is refused below it;
//   - nothing runs that has expired or that was given up, and no text is computed twice;
//   - every request gets exactly one answer, the right one for what became of it, in time;
//   - an answer that is good has the right rows, whoever computed them;
//   - the device never stands still while something may run, and no class waits for ever.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sidecar/scheduler.h"

namespace nacelle::sim {

using base::Nanos;

// How a client behaves. Ranges are inclusive.
struct Manner {
  std::string name = "polite";
  std::uint32_t clients = 1;  // that behave like this
  double per_second = 20;     // calls, at random times; a call is `burst` requests at once
  std::uint32_t burst = 1;
  std::uint32_t open_max = 64;  // requests without an answer, as many as it has slots
  std::uint32_t texts_min = 1, texts_max = 4;
  std::uint32_t tokens_min = 4, tokens_max = 100;  // per text
  Nanos deadline_min = 10 * base::kSecond, deadline_max = 10 * base::kSecond;
  double gives_up = 0;           // the share of requests that it gives up,
  Nanos patience = 0;            // each at a random time up to this one after sending it
  Nanos lives = base::kNever;    // dies then, and all its requests with it
  std::uint32_t favourites = 0;  // texts that it always asks for, as all clients do; 0: all its own
  std::uint32_t service_first = 0, service_last = 0;
};

struct Device {
  Nanos fixed = base::kMillisecond;          // of a batch
  Nanos token = 10 * base::kMicrosecond;     // of each token
  std::uint32_t memory_tokens = UINT32_MAX;  // a longer text does not fit
  double fails = 0;                          // the share of batches that fail as a whole
  double memory_fails = 0;                   // of requests that do not fit, whatever their size
  double slow = 0;                           // that take ten times as long
};

struct Plan {
  sidecar::SchedulerLimits limits;
  std::vector<sidecar::ServiceLimits> services;
  std::vector<Manner> manners;
  Device device;
  Nanos duration = base::kSecond;  // of sending; what was sent is answered afterwards
  bool budget_changes = false;     // memory comes and goes: set_batch_tokens()
};

// What every seed of the tests runs: a plan with a little of everything.
Plan random_plan(std::uint64_t seed);

struct ClientResult {
  std::string manner;
  double compute_ns = 0;    // of the device, split by tokens
  std::uint64_t texts = 0;  // computed for it
  std::uint64_t sent = 0;
  std::vector<Nanos> latencies;  // of good answers
};

struct Result {
  std::string violation;    // empty: none
  std::uint64_t trace = 0;  // a hash over all events and their times
  std::uint64_t sent = 0, ok = 0, failed = 0, busy = 0, expired = 0, cancelled = 0;
  std::uint64_t too_large = 0;  // of those that failed
  std::uint64_t shared = 0, batches = 0, texts = 0, windows_tokens = 0;
  Nanos busy_ns = 0;  // of the device
  Nanos ended = 0;
  std::vector<ClientResult> clients;
};

Result simulate(const Plan& plan, std::uint64_t seed);

// Adds a day's counts and time to those of others, and its trace to theirs.
void add(Result& all, const Result& day);

// The smallest latency that this share of them does not exceed; 0 of none.
Nanos quantile(std::vector<Nanos> latencies, double share);

}  // namespace nacelle::sim
