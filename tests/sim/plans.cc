// The plan of a seed.
#include "tests/sim/random.h"
#include "tests/sim/world.h"

namespace nacelle::sim {
namespace {

using base::kMicrosecond;
using base::kMillisecond;
using base::kSecond;

// The manners that a plan chooses from, with the rates of a device that does 500 texts a second.
std::vector<Manner> all_manners(Random& random) {
  std::vector<Manner> all;
  all.push_back({.name = "polite", .clients = 3, .per_second = 30});
  all.push_back({.name = "greedy", .per_second = 2000, .open_max = 256});
  all.push_back({.name = "bursty", .clients = 2, .per_second = 5, .burst = 40});
  all.push_back({.name = "lists", .per_second = 8, .texts_min = 20, .texts_max = 200});
  all.push_back({.name = "dying",
                 .clients = 4,
                 .per_second = 100,
                 .lives = random.from(kMillisecond, 900 * kMillisecond)});
  all.push_back({.name = "cancelling",
                 .clients = 2,
                 .per_second = 100,
                 .gives_up = 0.5,
                 .patience = 40 * kMillisecond});
  all.push_back({.name = "hasty",
                 .clients = 2,
                 .per_second = 150,
                 .deadline_min = 1,
                 .deadline_max = 30 * kMillisecond});
  all.push_back({.name = "twins",
                 .clients = 4,
                 .per_second = 60,
                 .deadline_min = kMillisecond,
                 .deadline_max = 10 * kSecond,
                 .gives_up = 0.2,
                 .patience = 20 * kMillisecond,
                 .favourites = 3});
  return all;
}

}  // namespace

Plan random_plan(std::uint64_t seed) {
  Random random(seed * 2 + 1);  // not the numbers that the world itself draws
  Plan plan;
  plan.limits.batch_tokens_max = random.from(100U, 4096U);
  if (random.chance(0.5)) plan.limits.max_delay = random.from(kMicrosecond, 5 * kMillisecond);
  plan.limits.queue_requests_max = random.from(4U, 300U);
  plan.limits.queue_tokens_max = random.from(1000U, 60'000U);
  if (random.chance(0.5)) plan.limits.queue_time_max = random.from(Nanos{0}, 500 * kMillisecond);
  plan.limits.burst = random.from(Nanos{0}, 200 * kMillisecond);
  const std::uint32_t services = random.from(1U, 4U);
  for (std::uint32_t i = 0; i < services; ++i) {
    sidecar::ServiceLimits limits{.name = "service" + std::to_string(i)};
    if (random.chance(0.5)) limits.max_concurrent = random.from(1U, 8U);
    if (random.chance(0.5)) limits.max_queue_size = random.from(0U, 30U);
    limits.priority = random.from(0U, 3U);
    limits.weight = random.from(1U, 4U);
    if (random.chance(0.3)) limits.latency_target = random.from(kMillisecond, 50 * kMillisecond);
    plan.services.push_back(limits);
  }
  for (Manner& manner : all_manners(random)) {
    if (random.chance(0.4)) continue;
    manner.service_first = random.from(0U, services - 1);
    manner.service_last = random.from(manner.service_first, services - 1);
    plan.manners.push_back(manner);
  }
  plan.device.fixed = random.from(Nanos{0}, 4 * kMillisecond);
  plan.device.token = random.from(Nanos{100}, 50 * kMicrosecond);
  if (random.chance(0.4)) plan.device.memory_tokens = random.from(50U, 1000U);
  if (random.chance(0.4)) plan.device.fails = 0.03;
  if (random.chance(0.4)) plan.device.memory_fails = 0.03;
  if (random.chance(0.4)) plan.device.slow = 0.05;
  plan.budget_changes = random.chance(0.4);
  plan.duration = 400 * kMillisecond;
  return plan;
}

}  // namespace nacelle::sim
