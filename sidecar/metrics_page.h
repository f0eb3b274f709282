// All metrics of the sidecar on one page: what /metrics and nacellectl metrics show, and the table
// in docs/METRICS.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sidecar/cache_metrics.h"
#include "sidecar/counters.h"

namespace nacelle::sidecar {

// A service, as far as metrics name it.
struct ServiceLabels {
  std::string service;
  std::string model;  // the last part of its folder's path
  std::string architecture;
  std::string digest;
  std::uint64_t memory_bytes = 0;
  const ServiceCounters* counters = nullptr;
};

// What is read at the moment instead of counted.
struct Levels {
  bool serving = false;
  std::uint64_t queued_requests = 0;
  std::uint64_t queued_tokens = 0;
  std::uint64_t clients = 0;
  std::uint64_t in_flight = 0;     // requests taken and not yet answered
  std::uint64_t client_bytes = 0;  // of all clients' shared memory
  std::uint64_t resident_bytes = 0;

  void visit(auto&& visit) const {
    using metrics::gauge;
    visit(gauge("nacelle_serving", "1 while requests are taken, 0 while the sidecar drains."), {},
          std::uint64_t{serving});
    visit(gauge("nacelle_queue_requests", "Requests that wait for the device."), {},
          queued_requests);
    visit(gauge("nacelle_queue_tokens", "Their tokens."), {}, queued_tokens);
    visit(gauge("nacelle_clients", "Connected application processes."), {}, clients);
    visit(gauge("nacelle_in_flight", "Requests taken and not yet answered."), {}, in_flight);
    visit(gauge("nacelle_clients_memory_bytes", "Memory shared with clients."), {}, client_bytes);
    visit(gauge("nacelle_resident_memory_bytes", "Resident memory of the sidecar."), {},
          resident_bytes);
  }
};

metrics::Exposition metrics_page(const Counters& counters, const Levels& levels,
                                 const std::vector<ServiceLabels>& services,
                                 const std::vector<CacheLevels>& caches = {});

// docs/METRICS.md: every metric that there is. Printed by nacelled --print-metrics-markdown.
std::string metrics_markdown();

}  // namespace nacelle::sidecar
