// Arrivals: the same from the same seed, and of the distribution that was asked for.
#include "bench/serve/schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

namespace nacelle::bench::serve {
namespace {

Load load_of(std::vector<Phase> phases, std::uint64_t seed = 1) {
  Load load;
  load.phases = std::move(phases);
  load.seed = seed;
  return load;
}

std::vector<Arrival> made(const Load& load, std::uint32_t process = 0) {
  auto arrivals = make_schedule(load, process, texts_of(load, process, 10));
  EXPECT_TRUE(arrivals);
  return arrivals ? *std::move(arrivals) : std::vector<Arrival>();
}

TEST(Schedule, TheSameSeedAsksTheSameAtTheSameMoments) {
  Load load = load_of({{1000, base::kSecond}});
  load.processes = 2;
  const auto again = [&](std::uint32_t process) {
    return made(load, process) == made(load, process);
  };
  EXPECT_TRUE(again(0));
  EXPECT_TRUE(again(1));
  EXPECT_FALSE(made(load, 0) == made(load, 1)) << "processes do not ask in step";
  Load other = load;
  other.seed = 2;
  EXPECT_FALSE(made(load) == made(other));
}

TEST(Schedule, ArrivalsComeInOrderWithinTheirPhases) {
  const Load load = load_of({{500, base::kSecond}, {0, base::kSecond}, {5000, base::kSecond}});
  const std::vector<Arrival> arrivals = made(load);
  EXPECT_TRUE(std::is_sorted(arrivals.begin(), arrivals.end(),
                             [](const Arrival& a, const Arrival& b) { return a.due < b.due; }));
  std::map<int, int> counts;
  for (const Arrival& arrival : arrivals) {
    ++counts[arrival.phase];
    EXPECT_GE(arrival.due, arrival.phase * base::kSecond);
    EXPECT_LT(arrival.due, (arrival.phase + 1) * base::kSecond);
    EXPECT_LT(arrival.text, 10U);
  }
  // Within six standard deviations of a Poisson count; a phase without a rate is silent.
  EXPECT_NEAR(counts[0], 500, 6 * std::sqrt(500));
  EXPECT_EQ(counts[1], 0);
  EXPECT_NEAR(counts[2], 5000, 6 * std::sqrt(5000));
}

// Of independent arrivals the gaps are exponential: their standard deviation is their mean.
TEST(Schedule, GapsOfPoissonArrivalsAreExponential) {
  const std::vector<Arrival> arrivals = made(load_of({{10'000, 2 * base::kSecond}}, 7));
  double sum = 0;
  double squares = 0;
  for (std::size_t i = 1; i < arrivals.size(); ++i) {
    const double gap = static_cast<double>(arrivals[i].due - arrivals[i - 1].due) / 1e9;
    sum += gap;
    squares += gap * gap;
  }
  const double mean = sum / static_cast<double>(arrivals.size() - 1);
  const double deviation =
      std::sqrt(squares / static_cast<double>(arrivals.size() - 1) - mean * mean);
  EXPECT_NEAR(mean, 1e-4, 5e-6);
  EXPECT_NEAR(deviation / mean, 1, 0.05);
}

TEST(Schedule, NoTwoProcessesAskForTheSameTextAndNoneRepeatsItselfEarly) {
  Load load = load_of({{300, base::kSecond}});
  load.processes = 4;
  std::map<std::uint32_t, std::uint32_t> owners;
  for (std::uint32_t i = 0; i < 4; ++i) {
    const std::vector<std::uint32_t> texts = texts_of(load, i, 103);
    for (const std::uint32_t text : texts) {
      EXPECT_TRUE(owners.emplace(text, i).second) << text;
      EXPECT_LT(text, 103U);
    }
    const auto arrivals = make_schedule(load, i, texts);
    ASSERT_TRUE(arrivals);
    ASSERT_GT(arrivals->size(), texts.size());
    for (std::size_t j = 0; j < arrivals->size(); ++j) {
      EXPECT_EQ((*arrivals)[j].text, texts[j % texts.size()]);
    }
  }
  EXPECT_EQ(owners.size(), 103U) << "every text is asked for";
  EXPECT_EQ(texts_of(load, 3, 2), std::vector<std::uint32_t>{1}) << "fewer texts than processes";
}

TEST(Schedule, ProcessesShareTheRate) {
  Load load = load_of({{4000, base::kSecond}});
  load.processes = 4;
  std::size_t sum = 0;
  for (std::uint32_t i = 0; i < 4; ++i) sum += made(load, i).size();
  EXPECT_NEAR(static_cast<double>(sum), 4000, 6 * std::sqrt(4000));
}

TEST(Schedule, BurstsComeTogetherAndKeepTheRate) {
  Load load = load_of({{20'000, base::kSecond}});
  load.pattern = Pattern::kBurst;
  load.burst = 50;
  const std::vector<Arrival> arrivals = made(load);
  ASSERT_EQ(arrivals.size() % 50, 0U);
  for (std::size_t i = 0; i < arrivals.size(); i += 50) {
    EXPECT_EQ(arrivals[i].due, arrivals[i + 49].due);
  }
  EXPECT_NEAR(static_cast<double>(arrivals.size()) / 50, 400, 6 * std::sqrt(400));
}

TEST(Schedule, ThePartThatIsGivenUpIsTheOneAskedFor) {
  Load load = load_of({{10'000, base::kSecond}});
  load.cancel_share = 0.25;
  const std::vector<Arrival> arrivals = made(load);
  const auto cancels = std::count_if(arrivals.begin(), arrivals.end(),
                                     [](const Arrival& arrival) { return arrival.cancel; });
  EXPECT_NEAR(static_cast<double>(cancels) / static_cast<double>(arrivals.size()), 0.25, 0.03);
}

TEST(Schedule, AClosedLoadHasNoneAndOneTooLongIsRefused) {
  Load load = load_of({{1000, base::kSecond}});
  load.pattern = Pattern::kClosed;
  EXPECT_TRUE(made(load).empty());
  constexpr std::uint32_t kOne[] = {0};
  const auto refused = make_schedule(load_of({{1e6, 600 * base::kSecond}}), 0, kOne);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, base::Code::kTooLarge);
}

TEST(Schedule, WrittenDownEveryArrivalIsLostUntilItIsAnswered) {
  const std::vector<Arrival> arrivals = made(load_of({{100, base::kSecond}, {100, base::kSecond}}));
  std::vector<Record> records(arrivals.size());
  write_down(arrivals, records);
  for (std::size_t i = 0; i < records.size(); ++i) {
    EXPECT_EQ(records[i].due, arrivals[i].due);
    EXPECT_EQ(records[i].phase, arrivals[i].phase);
    EXPECT_EQ(records[i].outcome, Outcome::kLost);
  }
}

}  // namespace
}  // namespace nacelle::bench::serve
