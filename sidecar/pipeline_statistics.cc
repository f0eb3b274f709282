// What the pipeline tells of itself on the statistics page.
#include <algorithm>
#include <memory>
#include <string_view>
#include <vector>

#include "sidecar/base/memory.h"
#include "sidecar/control/statistics.h"
#include "sidecar/pipeline.h"

namespace nacelle::sidecar {
namespace {

static_assert(kStages + 2 == control::kStatisticsStages.size());

// What a service's histograms held when the page was last written.
struct Before {
  std::array<Histogram::Snapshot, control::kStatisticsStages.size()> stages;
  Histogram::Snapshot batch_texts;
  Histogram::Snapshot batch_fill;
};
struct State {
  std::vector<Before> services;
  base::Nanos at = 0;  // 0: never written
};

template <std::size_t kSize>
void copy_name(std::string_view name, char (&out)[kSize]) {
  name.substr(0, kSize - 1).copy(out, kSize - 1);
}

const Histogram& histogram_of(const ServiceCounters& counters, std::size_t stage) {
  if (stage == 0) return counters.ring;
  return stage <= kStages ? counters.stages[stage - 1] : counters.total;
}

// What was recorded since `before`, which moves on.
Histogram::Snapshot since(const Histogram& histogram, Histogram::Snapshot& before) {
  const Histogram::Snapshot now = histogram.snapshot();
  const Histogram::Snapshot part = now.since(before);
  before = now;
  return part;
}

void fill_service(const LoadedService& service, Before& before, control::ServiceStatistics& out) {
  const ServiceCounters& counters = service.counters;
  copy_name(service.name, out.name);
  out.requests = counters.requests.get();
  out.texts = counters.texts.get();
  out.tokens = counters.tokens.get();
  out.batches = counters.batches.get();
  for (std::size_t i = 1; i < counters.ended.size(); ++i) out.errors += counters.ended[i].get();
  out.compute_ns = counters.compute_ns.get();
  for (std::size_t i = 0; i < out.stages.size(); ++i) {
    const auto part = since(histogram_of(counters, i), before.stages[i]);
    out.stages[i] = {part.count, part.quantile(0.5), part.quantile(0.99)};
  }
  out.batch_texts_p50 = since(counters.batch_texts, before.batch_texts).quantile(0.5);
  out.batch_fill_percent_p50 = since(counters.batch_fill, before.batch_fill).quantile(0.5);
}

}  // namespace

std::function<void(control::Statistics&)> Pipeline::statistics_source() const {
  const auto state = std::make_shared<State>();
  state->services.resize(services_.size());
  return [this, state](control::Statistics& out) {
    const base::Nanos now = base::now_ns();
    out.interval_ns = state->at == 0 ? 0 : static_cast<std::uint64_t>(now - state->at);
    state->at = now;
    out.serving = intake_->draining() ? 0 : 1;
    out.requests = counters_.requests.get();
    out.texts = counters_.texts.get();
    out.tokens = counters_.tokens.get();
    out.batches = counters_.batches.get();
    for (const Counter& refused : counters_.refused) out.refused += refused.get();
    out.busy_ns = counters_.busy_ns.get();
    {
      const std::lock_guard lock(mutex_);
      out.queued_requests = scheduler_.queued_requests();
      out.queued_tokens = scheduler_.queued_tokens();
    }
    for (const auto& client : intake_->clients()) {
      ++out.connections;
      out.in_flight += client->connection->in_flight();
    }
    out.resident_bytes = base::resident_memory();
    out.service_count = std::min(services_.size(), out.services.size());
    for (std::size_t i = 0; i < out.service_count; ++i) {
      fill_service(services_.at(i), state->services[i], out.services[i]);
    }
    counters_.accounts.for_each([&out](const Account& account) {
      if (out.client_count == out.clients.size()) return;
      control::ClientStatistics& client = out.clients[out.client_count++];
      copy_name(account.name, client.name);
      client.uid = account.uid;
      client.requests = account.requests.get();
      client.texts = account.texts.get();
      client.tokens = account.tokens.get();
      client.errors = account.errors.get();
      client.compute_ns = account.compute_ns.get();
    });
  };
}

}  // namespace nacelle::sidecar
