// A2: clients are killed at random times, under load, and nothing of them stays with the sidecar.
#include <gtest/gtest.h>

#include <algorithm>
#include <ctime>
#include <iostream>
#include <sstream>

#include "tests/crash/crowd.h"
#include "tests/crash/trials.h"

namespace nacelle::crash {
namespace {

constexpr std::size_t kClients = 8;
constexpr std::size_t kThreads = 4;
constexpr std::size_t kArenasMore = 8;
constexpr base::Nanos kReclaimWithin = 100 * base::kMillisecond;

TEST(KillTest, KilledAtRandomTimesUnderLoadClientsLeaveNothingBehind) {
  Trials trials("A2", kFewer > 1 ? 40 : 200);
  Sidecar sidecar;
  sidecar.start();
  const Footprint fresh = sidecar.footprint();
  Crowd crowd(sidecar,
              std::vector<Load>(kClients, {.embed_percent = 10, .think_max = base::kMillisecond}),
              kThreads, trials.seed());
  // The heap that the sidecar needs for a crowd it may keep.
  crowd.start_all();
  ASSERT_TRUE(eventually([&] { return crowd.all_progressed(20); }));
  ASSERT_TRUE(crowd.stop_all());
  ASSERT_TRUE(sidecar.quiet(0));
  // The memory of a connection goes a moment before its descriptors.
  ASSERT_TRUE(eventually([&] { return sidecar.footprint().fds == fresh.fds; }));
  const Footprint baseline = sidecar.footprint();
  const std::size_t anonymous = sidecar.anonymous_maps();
  EXPECT_EQ(baseline.threads, fresh.threads);

  crowd.start_all();
  Latencies reclaim;
  bool stuck = false;
  for (std::uint64_t trial = 0; trial < trials.count() && !stuck; ++trial) {
    const auto victim = static_cast<std::size_t>(trials.below(kClients));
    stuck = !eventually([&] {
      crowd.ledger().audit_all();
      return crowd.all_progressed();
    });
    ASSERT_FALSE(stuck) << "trial " << trial << ": somebody is not served";
    const timespec moment{0, static_cast<long>(trials.below(3 * base::kMillisecond))};
    ::nanosleep(&moment, nullptr);
    crowd.mark_progress();
    const std::string name = crowd.name(victim);
    const base::Nanos died = crowd.kill(victim);
    stuck = !eventually([&] {
      const auto clients = sidecar.status().clients;
      return std::none_of(clients.begin(), clients.end(),
                          [&](const auto& client) { return client.name == name; }) &&
             sidecar.footprint().regions == 2 * (kClients - 1);
    });
    reclaim.add(wall_ns() - died);
    ASSERT_FALSE(stuck) << "trial " << trial << ": " << name << " is not gone";
    crowd.start(victim);
    trials.ran();
  }
  EXPECT_TRUE(eventually([&] {
    crowd.ledger().audit_all();
    return crowd.all_progressed();
  }));
  EXPECT_TRUE(crowd.stop_all());
  EXPECT_TRUE(sidecar.quiet(0));
  eventually([&] { return sidecar.footprint() == baseline; });
  EXPECT_EQ(sidecar.footprint(), baseline);
  // Not exactly: under a heavier load than the first, malloc may open another arena or two. A leak
  // would be one per client.
  EXPECT_LE(sidecar.anonymous_maps(), anonymous + kArenasMore);
  const Audit& audit = crowd.ledger().total();
  EXPECT_EQ(audit.faults(), 0U) << audit;
  EXPECT_EQ(audit.lost, 0U) << audit;
  EXPECT_EQ(audit.submitted, audit.answered + audit.unseen) << audit;
  EXPECT_GT(audit.unseen, 0U) << "nobody was killed in the middle of a call";
  EXPECT_EQ(sidecar.complaints(), "");
  EXPECT_TRUE(within(reclaim, kReclaimWithin)) << reclaim.text();
  std::ostringstream notes;
  notes << "reclaimed in " << reclaim.text() << "; " << audit;
  std::cout << notes.str() << "; " << baseline << "\n";
  trials.report(HasFailure() ? 1 : 0, notes.str());
}

}  // namespace
}  // namespace nacelle::crash
