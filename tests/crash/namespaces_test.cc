// A11: a client and a sidecar that live in different pid, user or time namespaces. Nothing that
// they share is a pid, a uid or a time, so dying, restarting and deadlines work as within one.
#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "sidecar/base/bytes.h"
#include "tests/crash/crowd.h"
#include "tests/crash/restarts.h"
#include "tests/crash/steps.h"

namespace nacelle::crash {
namespace {

struct Apart {
  const char* name;
  Namespaces clients;
  Namespaces sidecar;
};
constexpr Apart kApart[] = {
    {"ClientsInPidAndUser", {.pid_and_user = true}, {}},
    {"SidecarInPidAndUser", {}, {.pid_and_user = true}},
    {"ClientsADayAhead", {.time = true}, {}},
    {"SidecarADayAhead", {}, {.time = true}},
};

class NamespacesTest : public ::testing::TestWithParam<Apart> {
 protected:
  void SetUp() override {
    for (const Namespaces& namespaces : {GetParam().clients, GetParam().sidecar}) {
      if (const auto why = not_permitted(namespaces)) GTEST_SKIP() << *why;
    }
  }
};

TEST_P(NamespacesTest, KilledAtSomeInstructionsAClientLeavesNothingBehind) {
  Trials trials("A11", 0);
  StepRun run(trials, GetParam().clients, GetParam().sidecar);
  if (run.skip()) GTEST_SKIP() << *run.skip();
  for (const Call call : kCalls) {
    run.step_through(
        call, 65, from_environment("CAMPAIGN_STRIDE", kFewer * (call == Call::kConnect ? 96 : 24)));
  }
  run.finish();
}

TEST_P(NamespacesTest, EveryCallEndsWhenTheSidecarDies) {
  Trials trials("A11", 4);
  run_restarts(trials, GetParam().clients, GetParam().sidecar);
}

// An absolute time would be over a day ago on one side, and a day away on the other.
TEST_P(NamespacesTest, DeadlinesAreDifferencesAndMeanTheSame) {
  Sidecar sidecar("scheduler: {max_delay_us: 20000}\n");
  sidecar.start(GetParam().sidecar);
  Process client = Process::fork(
      [&] {
        auto link = open_link(sidecar.socket(), "deadlines");
        if (!link) return 1;
        const auto embed = [&](std::uint32_t deadline_us) {
          const std::string payload("\x01\0\0\0t", 5);  // a list of one text
          const auto ticket = (*link)->submit(
              {.op = shm::Op::kEmbed, .items = 1, .deadline_us = deadline_us}, 5,
              base::now_ns() + 60 * base::kSecond,
              [&](std::span<std::byte> out) { base::copy_bytes(out.data(), payload.data(), 5); });
          if (!ticket) return ticket.error().code;
          const auto answer = (*link)->wait(*ticket);
          const base::Code code = answer ? answer->fields.code : answer.error().code;
          if (answer) (*link)->finish(*ticket);
          return code;
        };
        if (embed(30'000'000) != base::Code::kOk) return 2;
        if (embed(1) != base::Code::kDeadlineExceeded) return 3;
        return 0;
      },
      GetParam().clients);
  EXPECT_EQ(client.wait(), 0);
}

INSTANTIATE_TEST_SUITE_P(Apart, NamespacesTest, ::testing::ValuesIn(kApart),
                         [](const auto& apart) { return apart.param.name; });

}  // namespace
}  // namespace nacelle::crash
