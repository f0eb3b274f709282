// How often, from which seed, and what came out of it: one row of the acceptance table.
//
// In the tests of every day the counts are small. A campaign (./run campaign) sets
//
//   CAMPAIGN_TRIALS   how many faults to inject
//   CAMPAIGN_SEED     where the random choices begin: the same seed makes the same ones
//
// and keeps the line that report() prints.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "sidecar/base/time.h"

namespace nacelle::crash {

// The address sanitizer's code makes each call ten times as long, and each process start slow: then
// fewer of each.
#if defined(__SANITIZE_ADDRESS__)
inline constexpr std::uint64_t kFewer = 64;
#else
inline constexpr std::uint64_t kFewer = 1;
#endif

class Trials {
 public:
  // `row` as the acceptance table calls it, "A2". Prints the seed.
  Trials(std::string row, std::uint64_t count);

  [[nodiscard]] std::uint64_t count() const { return count_; }
  [[nodiscard]] std::uint64_t seed() const { return seed_; }
  std::mt19937_64& random() { return random_; }
  // From 0 to `bound` - 1.
  std::uint64_t below(std::uint64_t bound) { return random_() % bound; }

  void ran() { ++ran_; }
  // Says on standard output how many trials ran and failed. `notes` is for people.
  void report(std::uint64_t failures, const std::string& notes) const;

 private:
  std::string row_;
  std::uint64_t count_;
  std::uint64_t seed_;
  std::uint64_t ran_ = 0;
  std::mt19937_64 random_;
};

// A whole number of the environment.
std::uint64_t from_environment(const char* name, std::uint64_t otherwise);

// Times that have a limit.
class Latencies {
 public:
  void add(base::Nanos nanos) { all_.push_back(nanos); }
  void add(const std::vector<base::Nanos>& more);
  [[nodiscard]] std::size_t count() const { return all_.size(); }
  [[nodiscard]] base::Nanos quantile(double q) const;
  [[nodiscard]] std::uint64_t over(base::Nanos limit) const;
  // "p50 1.23 ms, p99 ..., most ... (n = ...)"
  [[nodiscard]] std::string text() const;

 private:
  std::vector<base::Nanos> all_;
};

// Whether a limit of the acceptance table holds on a machine that others use, too: a few may be
// late, since it may be us who were not given the CPU to look. One in a hundred in a campaign, one
// in ten in the tests of every day, which share the machine with each other.
bool within(const Latencies& latencies, base::Nanos limit);

}  // namespace nacelle::crash
