// Row A4: the sidecar is killed while clients wait, and another one takes its place.
#pragma once

#include "tests/crash/process.h"
#include "tests/crash/trials.h"

namespace nacelle::crash {

// Kills and restarts it trials.count() times; every second time all clients are known to wait. Half
// of the clients call with a Link, where a loss is seen, half with a Client, which asks once more.
// Expects every call to end, rightly or told that the sidecar is gone, and in time.
void run_restarts(Trials& trials, const Namespaces& clients, const Namespaces& sidecars);

}  // namespace nacelle::crash
