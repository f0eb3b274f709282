// ./run sim: random days of the scheduler, on a clock of their own.
//
//   sim [--seed=N] [--count=K]
//
// Runs K plans, with the seeds from N on, and says what they did; the plans are those of the tests.
// A violation is told with its seed and the events before it, and ends the run with status 1.
#include <charconv>
#include <cstdio>
#include <iostream>
#include <optional>
#include <string_view>

#include "tests/sim/world.h"

namespace nacelle::sim {
namespace {

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

int complain(std::string_view argument) {
  std::cerr << "sim: what is " << argument
            << "? There are --seed=N and --count=K, both whole numbers, K at least 1.\n";
  return 2;
}

int run(int argc, char** argv) {
  std::uint64_t seed = 1;
  std::uint64_t count = 1;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    const bool is_seed = argument.starts_with("--seed=");
    if (!is_seed && !argument.starts_with("--count=")) return complain(argument);
    const auto value = number(argument.substr(argument.find('=') + 1));
    if (!value || (!is_seed && *value == 0)) return complain(argument);
    (is_seed ? seed : count) = *value;
  }
  Result all;
  for (std::uint64_t i = 0; i < count; ++i) {
    const Result result = simulate(random_plan(seed + i), seed + i);
    if (!result.violation.empty()) {
      std::cout << "seed " << seed + i << ": " << result.violation
                << "again with: ./run sim --seed=" << seed + i << "\n";
      return 1;
    }
    add(all, result);
  }
  std::printf(
      "seeds %llu to %llu: no violation, trace %016llx\n"
      "%.1f s of the device's time, %llu batches, %llu requests (%llu followed others):\n"
      "%llu ok + %llu failed (%llu too large) + %llu busy + %llu expired + %llu cancelled\n",
      static_cast<unsigned long long>(seed), static_cast<unsigned long long>(seed + count - 1),
      static_cast<unsigned long long>(all.trace), static_cast<double>(all.ended) / 1e9,
      static_cast<unsigned long long>(all.batches), static_cast<unsigned long long>(all.sent),
      static_cast<unsigned long long>(all.shared), static_cast<unsigned long long>(all.ok),
      static_cast<unsigned long long>(all.failed), static_cast<unsigned long long>(all.too_large),
      static_cast<unsigned long long>(all.busy), static_cast<unsigned long long>(all.expired),
      static_cast<unsigned long long>(all.cancelled));
  return 0;
}

}  // namespace
}  // namespace nacelle::sim

int main(int argc, char** argv) { return nacelle::sim::run(argc, argv); }
