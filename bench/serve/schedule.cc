#include "bench/serve/schedule.h"

#include <cmath>
#include <random>
#include <string>
#include <utility>

namespace nacelle::bench::serve {
namespace {

// Not the standard library's distributions: those may differ between its versions.
class Dice {
 public:
  // `what` keeps the dice of one process for different things apart.
  Dice(std::uint64_t seed, std::uint32_t process, std::uint32_t what) {
    std::seed_seq words{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32),
                        process, what};
    engine_.seed(words);
  }
  double share() { return static_cast<double>(engine_() >> 11) * 0x1p-53; }  // in [0, 1)
  std::size_t below(std::size_t limit) {
    return static_cast<std::size_t>(share() * static_cast<double>(limit));
  }
  // Seconds until the next event of a Poisson process of `rate` events per second.
  double gap(double rate) { return -std::log1p(-share()) / rate; }

 private:
  std::mt19937_64 engine_;
};

constexpr std::uint32_t kForArrivals = 0;
constexpr std::uint32_t kForTexts = 1;

}  // namespace

std::vector<std::uint32_t> texts_of(const Load& load, std::uint32_t process, std::size_t count) {
  std::vector<std::uint32_t> texts;
  for (std::size_t i = process % count; i < count; i += load.processes) {
    texts.push_back(static_cast<std::uint32_t>(i));
  }
  Dice dice(load.seed, process, kForTexts);
  for (std::size_t i = texts.size(); i > 1; --i) std::swap(texts[i - 1], texts[dice.below(i)]);
  return texts;
}

base::Result<std::vector<Arrival>> make_schedule(const Load& load, std::uint32_t process,
                                                 std::span<const std::uint32_t> texts) {
  std::vector<Arrival> arrivals;
  if (load.pattern == Pattern::kClosed) return arrivals;
  Dice dice(load.seed, process, kForArrivals);
  const std::uint32_t together = load.pattern == Pattern::kBurst ? load.burst : 1;
  const std::uint64_t most = kRecordsMax / load.processes;
  base::Nanos begin = 0;
  for (std::size_t i = 0; i < load.phases.size(); ++i) {
    const Phase& phase = load.phases[i];
    const double rate = phase.rate / load.processes / together;
    const double length = static_cast<double>(phase.duration) / 1e9;
    for (double at = rate > 0 ? dice.gap(rate) : length; at < length; at += dice.gap(rate)) {
      if (arrivals.size() + together > most) {
        return base::Error{base::Code::kTooLarge, "a load of more than " +
                                                      std::to_string(kRecordsMax) +
                                                      " requests: make it shorter or slower"};
      }
      for (std::uint32_t j = 0; j < together; ++j) {
        arrivals.push_back({.due = begin + static_cast<base::Nanos>(at * 1e9),
                            .text = texts[arrivals.size() % texts.size()],
                            .phase = static_cast<std::uint16_t>(i),
                            .cancel = dice.share() < load.cancel_share});
      }
    }
    begin += phase.duration;
  }
  return arrivals;
}

void write_down(std::span<const Arrival> arrivals, std::span<Record> records) {
  for (std::size_t i = 0; i < arrivals.size(); ++i) {
    records[i] = {.due = arrivals[i].due, .phase = arrivals[i].phase, .outcome = Outcome::kLost};
  }
}

}  // namespace nacelle::bench::serve
