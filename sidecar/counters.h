// Numbers that the stages count, for nacellectl and for Prometheus to show. A metric is a member
// and its line in visit(), which declares it; docs/METRICS.md is written from these lines.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "shm/connection.h"
#include "sidecar/accounts.h"
#include "sidecar/base/result.h"
#include "sidecar/metrics/exposition.h"
#include "sidecar/stages.h"

namespace nacelle::sidecar {

using metrics::Counter;
using metrics::Gauge;
using metrics::Histogram;

// One counter for each code that a client can be told, kOk for none.
using CodeCounters = std::array<Counter, static_cast<std::size_t>(base::Code::kInternal) + 1>;

inline void visit_codes(auto&& visit, const metrics::Family& family, const metrics::Labels& labels,
                        std::string_view label, const CodeCounters& counters, std::size_t first) {
  for (std::size_t i = first; i < counters.size(); ++i) {
    metrics::Labels more = labels;
    more.push_back({label, base::code_name(static_cast<base::Code>(i))});
    visit(family, more, counters[i]);
  }
}

class Trace;

// Of the whole sidecar.
struct Counters {
  Counter requests;  // taken from clients: embed and classify, refused ones included
  Counter texts;     // computed
  Counter tokens;    // computed, special ones included
  Counter batches;
  Counter batches_mixed;    // with texts of more than one client
  Counter batch_texts_max;  // the most texts in one batch
  Counter busy;
  Counter invalid;
  Counter expired;
  Counter cancelled;
  CodeCounters refused;  // requests and streams that ended in an error, by it
  Counter busy_ns;       // the device had a batch
  // By the code that the client was told.
  CodeCounters refused_connections;
  // Clients disconnected for breaking the protocol, by shm::Violation.
  std::array<Counter, shm::kViolationNames.size()> violations;
  Counter rescued_by_timeout;  // requests that a backstop found, not a doorbell: should stay 0
  Gauge batch_tokens_max;      // the budget of a batch
  Accounts accounts;
  Trace* trace = nullptr;  // the last requests (trace.h); null: none are kept

  void visit(auto&& visit) const {
    using metrics::counter;
    visit(counter("nacelle_taken_total",
                  "Requests about texts taken from clients, refused ones included."),
          {}, requests);
    visit_codes(
        visit,
        counter("nacelle_refused_total",
                "Requests and streams that ended in an error, by what the client was told."),
        {}, "reason", refused, 1);
    visit(counter("nacelle_batches_mixed_total", "Batches with texts of more than one client."), {},
          batches_mixed);
    visit(metrics::gauge("nacelle_batch_texts_max", "The most texts that one batch held."), {},
          batch_texts_max);
    visit(metrics::gauge("nacelle_batch_tokens_budget", "Tokens that a batch may hold."), {},
          batch_tokens_max);
    visit(metrics::seconds_counter("nacelle_device_busy_seconds_total",
                                   "Time in which the device had a batch, packing it and making "
                                   "rows included."),
          {}, busy_ns);
    visit_codes(visit,
                counter("nacelle_connections_refused_total",
                        "Connections refused, by what the client was told."),
                {}, "reason", refused_connections, 1);
    for (std::size_t i = 0; i < violations.size(); ++i) {
      visit(counter("nacelle_violations_total",
                    "Clients disconnected for breaking the protocol, by what they did."),
            {{"violation", shm::kViolationNames[i]}}, violations[i]);
    }
    visit(counter("nacelle_rescued_by_timeout_total",
                  "Requests that a timeout found, not a doorbell. Above 0 is a defect."),
          {}, rescued_by_timeout);
    accounts.for_each([&visit](const Account& account) {
      const std::string uid = account.name == Accounts::kOthers ? "" : std::to_string(account.uid);
      account.visit(visit, {{"client", account.name}, {"uid", uid}});
    });
  }
};

// Of one service.
struct ServiceCounters {
  Counter requests;
  Counter texts;
  Counter tokens;
  Counter batches;
  Counter errors;      // requests answered with an error
  CodeCounters ended;  // requests answered, by how
  Counter compute_ns;  // in its model

  Histogram ring;  // StageTimes::ring
  std::array<Histogram, kStages> stages;
  Histogram total;  // taken to replied
  // Of each batch.
  Histogram batch_texts;
  Histogram batch_tokens;
  Histogram batch_fill;  // tokens in percent of the budget
  Histogram batch_compute;

  void visit(auto&& visit, const metrics::Labels& labels) const {
    using metrics::counter;
    using metrics::seconds_histogram;
    visit(counter("nacelle_requests_total", "Requests for a service, refused ones included."),
          labels, requests);
    visit_codes(visit, counter("nacelle_requests_ended_total", "Requests answered, by how."),
                labels, "outcome", ended, 0);
    visit(counter("nacelle_texts_total", "Texts computed; a part of a long text counts as one."),
          labels, texts);
    visit(counter("nacelle_tokens_total", "Tokens computed, special ones included."), labels,
          tokens);
    visit(counter("nacelle_batches_total", "Batches computed."), labels, batches);
    visit(metrics::seconds_counter("nacelle_compute_seconds_total", "Time in a service's model."),
          labels, compute_ns);
    visit(
        seconds_histogram("nacelle_ring_seconds",
                          "At most how long requests lay in shared memory before they were taken, "
                          "while the sidecar was awake. Before nacelle_request_seconds begins."),
        labels, ring);
    for (std::size_t i = 0; i < kStages; ++i) {
      metrics::Labels more = labels;
      more.push_back({"stage", kStageNames[i]});
      visit(seconds_histogram("nacelle_stage_seconds",
                              "Where requests' time went. A request's stages sum to its "
                              "nacelle_request_seconds."),
            more, stages[i]);
    }
    visit(seconds_histogram("nacelle_request_seconds",
                            "From taking a request until its reply is published."),
          labels, total);
    visit(metrics::count_histogram("nacelle_batch_texts", "Texts in a batch."), labels,
          batch_texts);
    visit(metrics::count_histogram("nacelle_batch_tokens", "Tokens in a batch."), labels,
          batch_tokens);
    visit(metrics::ratio_histogram("nacelle_batch_fill_ratio",
                                   "A batch's tokens, as a share of nacelle_batch_tokens_budget."),
          labels, batch_fill);
    visit(seconds_histogram("nacelle_batch_compute_seconds", "Time of a batch in the model."),
          labels, batch_compute);
  }
};

// Of one client connection.
struct ClientCounters {
  Counter requests;
  Counter texts;
};

}  // namespace nacelle::sidecar
