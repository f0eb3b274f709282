// A4: the sidecar is killed while clients wait, and comes back.
#include <gtest/gtest.h>

#include "tests/crash/restarts.h"

namespace nacelle::crash {
namespace {

TEST(RestartTest, EveryCallEndsWhenTheSidecarDiesAndClientsFindTheNextOne) {
  Trials trials("A4", 50);
  run_restarts(trials, {}, {});
}

}  // namespace
}  // namespace nacelle::crash
