// What is counted about the result cache of one domain.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "sidecar/cache/cache.h"
#include "sidecar/cache/journal.h"
#include "sidecar/metrics/exposition.h"

namespace nacelle::sidecar {

struct CacheLevels {
  std::string domain;
  cache::TableStats stats;
  std::optional<cache::JournalStats> disk;  // nothing: in memory alone

  void visit(auto&& visit) const {
    using metrics::counter;
    using metrics::gauge;
    constexpr std::array<std::string_view, shm::kCacheSources> kSources = {"organic", "warm",
                                                                           "idle"};
    const metrics::Labels labels{{"domain", domain}};
    const auto with = [&labels](std::string_view name, std::string_view value) {
      metrics::Labels more = labels;
      more.push_back({name, value});
      return more;
    };
    const cache::ReaderCounts& readers = stats.readers_total;
    visit(gauge("nacelle_cache_memory_bytes",
                "Memory of a domain's result cache, its clients' touch pages included."),
          labels, stats.region_bytes + stats.book_bytes + stats.touch_bytes);
    visit(gauge("nacelle_cache_entries", "Answers in it."), labels, stats.entries);
    visit(gauge("nacelle_cache_readers", "Clients that read it by themselves."), labels,
          stats.readers);
    const metrics::Family segments =
        gauge("nacelle_cache_segments", "Its memory, in segments, by what is in them.");
    visit(segments, with("state", "free"), stats.segments_free);
    visit(segments, with("state", "probation"), stats.segments_probation);
    visit(segments, with("state", "main"), stats.segments_main);
    visit(counter("nacelle_cache_puts_total", "Answers put into it."), labels, stats.puts);
    visit(counter("nacelle_cache_replaced_total", "Of these, in the place of one of the same key."),
          labels, stats.replaced);
    const metrics::Family refused =
        counter("nacelle_cache_not_kept_total", "Answers that it did not take, by why.");
    visit(refused, with("reason", "too_large"), stats.too_large);
    visit(refused, with("reason", "stale"), stats.stale);
    const metrics::Family dropped =
        counter("nacelle_cache_dropped_total", "Answers that it let go, by why.");
    visit(dropped, with("reason", "evicted"), stats.evicted);
    visit(dropped, with("reason", "expired"), stats.expired);
    visit(dropped, with("reason", "crowded_out"), stats.crowded_out);
    visit(dropped, with("reason", "invalidated"), stats.invalidated);
    const metrics::Family hits = counter(
        "nacelle_cache_hits_total",
        "Answers that clients read by themselves, as they tell, by why they had been computed.");
    for (std::size_t i = 0; i < kSources.size(); ++i) {
      visit(hits, with("source", kSources[i]), readers.hits[i]);
    }
    visit(
        counter("nacelle_cache_misses_total", "Answers that clients looked for and did not find."),
        labels, readers.misses);
    visit(counter("nacelle_cache_sidecar_hits_total",
                  "Answers of requests that the sidecar found there itself, before computing."),
          labels, stats.hits);
    visit(counter("nacelle_cache_sidecar_misses_total",
                  "Answers of requests that the sidecar looked for and did not find."),
          labels, stats.misses);
    visit(metrics::seconds_counter("nacelle_cache_saved_seconds_total",
                                   "Time that it took to compute what clients read."),
          labels, readers.saved_ns);
    const cache::JournalStats kept = disk.value_or(cache::JournalStats{});
    visit(gauge("nacelle_cache_disk_bytes", "What its files take."), labels, kept.bytes);
    visit(gauge("nacelle_cache_degraded",
                "1 while answers are not kept on disk as the configuration says, after an error."),
          labels, std::uint64_t{kept.degraded});
    visit(counter("nacelle_cache_written_total", "Answers written to disk."), labels,
          kept.appended);
    visit(counter("nacelle_cache_write_errors_total", "Answers that could not be written."), labels,
          kept.lost);
    visit(counter("nacelle_cache_recovered_total", "Answers found on disk at the start."), labels,
          kept.recovered);
    visit(counter("nacelle_cache_damaged_total",
                  "Pieces of files that were not what had been written, at the start."),
          labels, kept.damaged);
    visit(counter("nacelle_cache_touches_total", "Hits that count for what stays."), labels,
          readers.touches);
    visit(counter("nacelle_cache_touches_lost_total",
                  "Of these, overwritten before the sidecar had read them."),
          labels, readers.touches_lost);
  }
};

}  // namespace nacelle::sidecar
