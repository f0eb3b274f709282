// A1: a client is killed at every instruction of every call.
//
// Stepped through, each from a marker before the call to one behind it: connect, submit, the wait
// for an answer that is there with the release of it, the wait that sleeps and is woken, the wait
// whose deadline has passed (it gives the call up), cancel, and close with a call in flight.
//
// Not stepped through: the caller's own copies into and out of the arena (killed before, in the
// middle of and after each), and more than one round of the wait's spin, which is a loop on the
// clock: single steps are so slow that its budget is over after 16 looks.
#include "tests/crash/steps.h"

#include <gtest/gtest.h>

namespace nacelle::crash {
namespace {

class StepTest : public ::testing::TestWithParam<Call> {};

// Connecting is long, and the same for all sizes: each eighth of its instructions, if nothing is
// said.
constexpr std::uint64_t kConnectStride = 8;

// CAMPAIGN_ALL_SIZES=1: inline and not, from nothing to 64 KiB. CAMPAIGN_STRIDE=n: only each nth
// boundary, beginning at a random one.
TEST_P(StepTest, KilledAtEveryInstructionAClientLeavesNothingBehind) {
  const bool all = from_environment("CAMPAIGN_ALL_SIZES", 0) != 0;
  Trials trials("A1", 0);
  StepRun run(trials, {}, {});
  if (run.skip()) GTEST_SKIP() << *run.skip();
  const std::vector<std::uint32_t> sizes =
      all ? std::vector<std::uint32_t>{0, 64, 65, 65'536} : std::vector<std::uint32_t>{65};
  for (const std::uint32_t size : sizes) {
    const bool connect = GetParam() == Call::kConnect;
    run.step_through(GetParam(), size,
                     from_environment("CAMPAIGN_STRIDE", kFewer * (connect ? kConnectStride : 1)));
    if (connect) break;  // has no payload
  }
  run.finish();
}

INSTANTIATE_TEST_SUITE_P(Calls, StepTest, ::testing::ValuesIn(kCalls),
                         [](const auto& call) { return std::string(name_of(call.param)); });

}  // namespace
}  // namespace nacelle::crash
