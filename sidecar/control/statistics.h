// The statistics page: what nacellectl top shows, in memory that the sidecar writes and anybody who
// was given it reads. docs/formats/stats.md has every byte.
//
// The sidecar hands the page out over the control socket, as a sealed memfd that no receiver can
// write. It writes the page every half second for as long as somebody watches. Reading asks nobody
// and holds nobody up: a sequence number that is odd while the page is written (a seqlock) tells
// the reader to look again.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace nacelle::control {

inline constexpr std::uint64_t kStatisticsMagic = 0x3153544154534C4E;  // "NLSTATS1"
inline constexpr std::uint32_t kStatisticsVersion = 1;
inline constexpr std::size_t kStatisticsServices = 64;
inline constexpr std::size_t kStatisticsClients = 65;
// The stages in the order of the page: sidecar/stages.h, with the time in shared memory before
// them and the whole behind.
inline constexpr std::array<const char*, 7> kStatisticsStages = {
    "ring", "tokenize", "batch_wait", "compute", "copy", "reply", "request"};

// Of the requests that ended in the last interval.
struct StageStatistics {
  std::uint64_t count = 0;
  std::uint64_t p50_ns = 0;  // never too low, too high by 1/16 at most
  std::uint64_t p99_ns = 0;
};

// Counts are since the start of the sidecar; a reader makes rates of two of them.
struct ServiceStatistics {
  char name[64] = {};  // UTF-8, padded with 0
  std::uint64_t requests = 0;
  std::uint64_t texts = 0;
  std::uint64_t tokens = 0;
  std::uint64_t batches = 0;
  std::uint64_t errors = 0;
  std::uint64_t compute_ns = 0;
  // Of the last interval.
  std::array<StageStatistics, kStatisticsStages.size()> stages{};
  std::uint64_t batch_texts_p50 = 0;
  std::uint64_t batch_fill_percent_p50 = 0;
};

struct ClientStatistics {
  char name[64] = {};  // as the client calls itself: not to be trusted
  std::uint64_t uid = 0;
  std::uint64_t requests = 0;
  std::uint64_t texts = 0;
  std::uint64_t tokens = 0;
  std::uint64_t errors = 0;
  std::uint64_t compute_ns = 0;
};

struct Statistics {
  std::uint64_t updates = 0;      // how often the page was written
  std::uint64_t uptime_ns = 0;    // of the sidecar, when this was written
  std::uint64_t interval_ns = 0;  // what "the last interval" is
  std::uint64_t serving = 0;      // 1, or 0 while it drains
  std::uint64_t requests = 0;
  std::uint64_t texts = 0;
  std::uint64_t tokens = 0;
  std::uint64_t batches = 0;
  std::uint64_t refused = 0;
  std::uint64_t busy_ns = 0;  // the device had a batch
  std::uint64_t queued_requests = 0;
  std::uint64_t queued_tokens = 0;
  std::uint64_t in_flight = 0;
  std::uint64_t connections = 0;
  std::uint64_t resident_bytes = 0;
  std::uint64_t service_count = 0;
  std::uint64_t client_count = 0;
  std::array<ServiceStatistics, kStatisticsServices> services{};
  std::array<ClientStatistics, kStatisticsClients> clients{};
};
static_assert(sizeof(StageStatistics) == 24 && sizeof(ServiceStatistics) == 296 &&
              sizeof(ClientStatistics) == 112 && offsetof(Statistics, services) == 136);

struct StatisticsPage {
  std::uint64_t magic = 0;  // written first, never again
  std::uint32_t version = 0;
  std::uint32_t size = 0;  // of the whole page
  std::atomic<std::uint64_t> sequence{0};
  std::array<std::atomic<std::uint64_t>, sizeof(Statistics) / 8> words{};
};
static_assert(offsetof(StatisticsPage, sequence) == 16 && offsetof(StatisticsPage, words) == 24 &&
              std::atomic<std::uint64_t>::is_always_lock_free);

// For the one writer. `page` has its magic, version and size.
void write_statistics(StatisticsPage& page, const Statistics& statistics);

// A whole copy of the page; nothing when it is none of this version, or when its writer was in the
// middle of it each of many times: it has died there, or is stopped. Counts are within bounds.
std::optional<Statistics> read_statistics(std::span<const std::byte> page);

}  // namespace nacelle::control
