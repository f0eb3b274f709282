#include "tests/crash/restarts.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <ctime>
#include <iostream>
#include <set>
#include <sstream>

#include "tests/crash/crowd.h"

namespace nacelle::crash {
namespace {

constexpr std::size_t kThreads = 2;
constexpr std::size_t kByLink = 2;  // clients 0 and 1; 2 and 3 use a Client
constexpr std::size_t kClients = 4;
constexpr base::Nanos kGoneWithin = 50 * base::kMillisecond;

}  // namespace

void run_restarts(Trials& trials, const Namespaces& clients, const Namespaces& sidecars) {
  Sidecar sidecar;
  sidecar.start(sidecars);
  const Load by_link{.by_link = true, .think_max = base::kMillisecond / 10};
  const Load by_client{.embed_percent = 20, .think_max = base::kMillisecond};
  Crowd crowd(sidecar, {by_link, by_link, by_client, by_client}, kThreads, trials.seed(), clients);
  crowd.start_all();

  std::set<std::uint64_t> epochs{sidecar.epoch()};
  Latencies told;  // from the death to the end of a call that waited
  std::uint64_t certain = 0;
  std::uint64_t strange = 0;
  for (std::uint64_t trial = 0; trial < trials.count(); ++trial) {
    ASSERT_TRUE(eventually([&] {
      crowd.ledger().audit_all();
      return crowd.all_progressed();
    })) << "trial "
        << trial << ": somebody does not find the new sidecar";
    crowd.ledger().take();
    if (trial % 2 == 0) {
      sidecar.stop();
      ASSERT_TRUE(eventually([&] {
        bool all = true;
        for (std::size_t client = 0; client < kClients; ++client) {
          all = all && crowd.everyone_waits(client);
        }
        return all;
      }));
      certain += kByLink * kThreads;
    } else {
      const timespec moment{0, static_cast<long>(trials.below(3 * base::kMillisecond))};
      ::nanosleep(&moment, nullptr);
    }
    const base::Nanos died = sidecar.kill();
    ASSERT_TRUE(eventually([&] { return !crowd.anyone_waits(0) && !crowd.anyone_waits(1); }))
        << "trial " << trial << ": a call hangs";
    for (std::size_t book = 0; book < kByLink * kThreads; ++book) crowd.ledger().audit(book);
    for (const Audit::Loss& loss : crowd.ledger().take().losses) {
      strange += loss.code == base::Code::kSidecarGone ? 0 : 1;
      told.add(std::max<base::Nanos>(0, loss.ended_at - std::max(died, loss.submitted_at)));
    }
    crowd.mark_progress();
    sidecar.start(sidecars);
    EXPECT_TRUE(epochs.insert(sidecar.epoch()).second) << "an epoch came twice";
    trials.ran();
  }
  EXPECT_TRUE(eventually([&] {
    crowd.ledger().audit_all();
    return crowd.all_progressed();
  }));
  EXPECT_TRUE(crowd.stop_all());
  const Audit& audit = crowd.ledger().total();
  EXPECT_EQ(audit.faults(), 0U) << audit;
  EXPECT_EQ(audit.submitted, audit.answered + audit.lost) << audit;
  for (const auto& [code, count] : audit.codes) {
    EXPECT_TRUE(told_gone(code)) << count << " x " << base::code_name(code);
  }
  EXPECT_EQ(strange, 0U) << "a Link says kSidecarGone and nothing else";
  EXPECT_GE(told.count(), certain) << "calls that certainly waited were all told";
  EXPECT_TRUE(within(told, kGoneWithin)) << told.text();
  EXPECT_EQ(sidecar.complaints(), "");
  std::ostringstream notes;
  notes << "a waiting call returns " << told.text() << " after the death; " << audit;
  std::cout << notes.str() << "\n";
  trials.report(::testing::Test::HasFailure() ? 1 : 0, notes.str());
}

}  // namespace nacelle::crash
