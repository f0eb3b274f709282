#include "sidecar/metrics_page.h"

#include <memory>

namespace nacelle::sidecar {

metrics::Exposition metrics_page(const Counters& counters, const Levels& levels,
                                 const std::vector<ServiceLabels>& services,
                                 const std::vector<CacheLevels>& caches) {
  metrics::Exposition page;
  const auto add = [&page](const metrics::Family& family, const metrics::Labels& labels,
                           const auto& metric) { page.add(family, labels, metric); };
  levels.visit(add);
  counters.visit(add);
  for (const ServiceLabels& one : services) {
    add(metrics::gauge("nacelle_service_info", "1: what a service's model is."),
        {{"service", one.service},
         {"model", one.model},
         {"architecture", one.architecture},
         {"digest", one.digest}},
        std::uint64_t{1});
    const metrics::Labels labels{{"service", one.service}, {"model", one.model}};
    add(metrics::gauge("nacelle_model_memory_bytes",
                       "What a service's model takes besides the mapping of its file."),
        labels, one.memory_bytes);
    one.counters->visit(add, labels);
  }
  for (const CacheLevels& cache : caches) cache.visit(add);
  return page;
}

std::string metrics_markdown() {
  const Counters counters;
  const auto counted = std::make_unique<ServiceCounters>();
  ServiceLabels service;
  service.counters = counted.get();
  return "# Metrics\n\n"
         "Written by `nacelled --print-metrics-markdown` from the lines that declare them; a test "
         "holds this page to them.\n[OPERATING.md](OPERATING.md) tells how to read them.\n\n"
         "Counters start at 0 with the sidecar. `service` and `model` are those of the "
         "configuration; `client` is what a\nclient calls itself, `uid` its user: at most 64 of "
         "them, the others are together in `(others)`. `domain` is whose\nresult cache it is.\n\n" +
         metrics_page(counters, {}, {service}, {CacheLevels{}}).markdown();
}

}  // namespace nacelle::sidecar
