// What the pipeline tells of itself: its metrics, and its last requests.
#include <filesystem>

#include "sidecar/base/memory.h"
#include "sidecar/metrics_page.h"
#include "sidecar/pipeline.h"

namespace nacelle::sidecar {

std::string Pipeline::metrics() const {
  Levels levels;
  levels.serving = !intake_->draining();
  {
    const std::lock_guard lock(mutex_);
    levels.queued_requests = scheduler_.queued_requests();
    levels.queued_tokens = scheduler_.queued_tokens();
  }
  for (const auto& client : intake_->clients()) {
    ++levels.clients;
    levels.in_flight += client->connection->in_flight();
    levels.client_bytes += client->memory_bytes;
  }
  levels.resident_bytes = base::resident_memory();
  std::vector<ServiceLabels> services;
  for (std::size_t i = 0; i < services_.size(); ++i) {
    const LoadedService& service = services_.at(i);
    const model::Info& info = service.model->info();
    services.push_back({.service = service.name,
                        .model = std::filesystem::path(service.directory).filename(),
                        .architecture = info.architecture,
                        .digest = info.digest,
                        .memory_bytes = info.memory_bytes,
                        .counters = &service.counters});
  }
  std::vector<CacheLevels> caches;
  for (const auto& domain : cache_.domains()) {
    caches.push_back({domain->name(), domain->maintain(cache_times()), domain->disk()});
  }
  return metrics_page(counters_, levels, services, caches).text();
}

control::TraceReport Pipeline::trace(std::uint64_t last) const {
  const Trace::Copy copy = trace_.copy(last);
  control::TraceReport report;
  for (std::size_t i = 0; i < services_.size(); ++i) {
    report.services.push_back(services_.at(i).name);
  }
  for (const auto& client : intake_->clients()) {
    report.clients.push_back({client->connection->id(), client->connection->name()});
  }
  const auto ns = [](base::Nanos time) { return static_cast<std::uint64_t>(time); };
  for (const RequestTrace& one : copy.requests) {
    control::TracedRequest request{.number = one.number,
                                   .client = one.client,
                                   .service = one.service,
                                   .slot = one.slot,
                                   .texts = one.texts,
                                   .tokens = one.tokens,
                                   .outcome = std::string(base::code_name(one.code)),
                                   .ring_ns = ns(one.ring),
                                   .taken_ns = ns(one.taken),
                                   .tokenized_ns = ns(one.tokenized),
                                   .first_begin_ns = ns(one.first_begin),
                                   .last_end_ns = ns(one.last_end),
                                   .replied_ns = ns(one.replied),
                                   .first_batch = one.first_batch,
                                   .last_batch = one.last_batch,
                                   .stage_ns = {}};
    for (const base::Nanos spent : one.spent) request.stage_ns.push_back(ns(spent));
    report.requests.push_back(std::move(request));
  }
  for (const BatchTrace& one : copy.batches) {
    report.batches.push_back({.number = one.number,
                              .service = one.service,
                              .texts = one.texts,
                              .tokens = one.tokens,
                              .clients = one.clients,
                              .begin_ns = ns(one.begin),
                              .gathered_ns = ns(one.gathered),
                              .computed_ns = ns(one.computed),
                              .end_ns = ns(one.end)});
  }
  for (const std::string_view name : kStageNames) report.stages.emplace_back(name);
  return report;
}

}  // namespace nacelle::sidecar
