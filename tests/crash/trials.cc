#include "tests/crash/trials.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace nacelle::crash {

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr && *text != '\0' ? std::strtoull(text, nullptr, 0) : otherwise;
}

Trials::Trials(std::string row, std::uint64_t count)
    : row_(std::move(row)),
      count_(from_environment("CAMPAIGN_TRIALS", count)),
      seed_(from_environment("CAMPAIGN_SEED", 1)),
      random_(seed_) {
  std::printf("%s: CAMPAIGN_SEED=%llu\n", row_.c_str(), static_cast<unsigned long long>(seed_));
  std::fflush(stdout);
}

void Trials::report(std::uint64_t failures, const std::string& notes) const {
  std::string quoted;
  for (const char c : notes) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c == '\n' ? ' ' : c;
  }
  std::printf("RESULT {\"row\": \"%s\", \"trials\": %llu, \"failures\": %llu, \"notes\": \"%s\"}\n",
              row_.c_str(), static_cast<unsigned long long>(ran_),
              static_cast<unsigned long long>(failures), quoted.c_str());
  std::fflush(stdout);
}

void Latencies::add(const std::vector<base::Nanos>& more) {
  all_.insert(all_.end(), more.begin(), more.end());
}

base::Nanos Latencies::quantile(double q) const {
  if (all_.empty()) return 0;
  std::vector<base::Nanos> sorted = all_;
  const auto at =
      std::min(sorted.size() - 1, static_cast<std::size_t>(q * static_cast<double>(sorted.size())));
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(at), sorted.end());
  return sorted[at];
}

std::uint64_t Latencies::over(base::Nanos limit) const {
  return static_cast<std::uint64_t>(
      std::count_if(all_.begin(), all_.end(), [&](base::Nanos nanos) { return nanos > limit; }));
}

std::string Latencies::text() const {
  char line[128];
  const auto ms = [](base::Nanos nanos) { return static_cast<double>(nanos) / 1e6; };
  std::snprintf(line, sizeof line, "p50 %.2f ms, p99 %.2f ms, most %.2f ms (n = %zu)",
                ms(quantile(0.5)), ms(quantile(0.99)), ms(quantile(1)), count());
  return line;
}

bool within(const Latencies& latencies, base::Nanos limit) {
  const std::uint64_t one_in = std::getenv("CAMPAIGN_SEED") != nullptr ? 100 : 10;
  return latencies.over(limit) <= std::max<std::uint64_t>(1, latencies.count() / one_in);
}

}  // namespace nacelle::crash
