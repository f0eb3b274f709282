#include "sidecar/control/statistics.h"

#include <algorithm>
#include <bit>

namespace nacelle::control {
namespace {

using Words = std::array<std::uint64_t, sizeof(Statistics) / 8>;

// A page is read in less time than it is written, some 10 us: one attempt after a writing is
// enough. A writer that was interrupted takes as long as it takes: that is the caller's to wait
// for.
constexpr int kAttempts = 1'000;

}  // namespace

void write_statistics(StatisticsPage& page, const Statistics& statistics) {
  const auto words = std::bit_cast<Words>(statistics);
  const std::uint64_t sequence = page.sequence.load(std::memory_order_relaxed);
  page.sequence.store(sequence + 1, std::memory_order_relaxed);
  // release: who reads one of these words sees the odd sequence before it.
  for (std::size_t i = 0; i < words.size(); ++i) {
    page.words[i].store(words[i], std::memory_order_release);
  }
  // release: who reads this even sequence sees all the words.
  page.sequence.store(sequence + 2, std::memory_order_release);
}

std::optional<Statistics> read_statistics(std::span<const std::byte> bytes) {
  if (bytes.size() != sizeof(StatisticsPage)) return std::nullopt;
  const auto& page = *reinterpret_cast<const StatisticsPage*>(bytes.data());
  if (page.magic != kStatisticsMagic || page.version != kStatisticsVersion ||
      page.size != sizeof(StatisticsPage)) {
    return std::nullopt;
  }
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    // acquire: pairs with the release of the even sequence.
    const std::uint64_t before = page.sequence.load(std::memory_order_acquire);
    if (before == 0 || before % 2 != 0) continue;
    Words words;
    // acquire: a word of a later writing brings its odd sequence along, which is seen below.
    for (std::size_t i = 0; i < words.size(); ++i) {
      words[i] = page.words[i].load(std::memory_order_acquire);
    }
    if (page.sequence.load(std::memory_order_relaxed) != before) continue;
    auto statistics = std::bit_cast<Statistics>(words);
    statistics.service_count =
        std::min<std::uint64_t>(statistics.service_count, kStatisticsServices);
    statistics.client_count = std::min<std::uint64_t>(statistics.client_count, kStatisticsClients);
    for (ServiceStatistics& service : statistics.services) service.name[63] = '\0';
    for (ClientStatistics& client : statistics.clients) client.name[63] = '\0';
    return statistics;
  }
  return std::nullopt;
}

}  // namespace nacelle::control
