// A process that writes a journal until it is killed, and what its parent knows of it.
//
// The parent counts the steps of the workload (tests/sidecar/cache/journal_workload.h) in shared
// memory. What they did it finds out by taking the same steps itself, on a journal in memory.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "tests/crash/process.h"
#include "tests/sidecar/cache/journal_workload.h"

namespace nacelle::crash {

struct JournalSteps {
  std::atomic<std::uint64_t> begun = 0;  // the last of them may be unfinished
  std::atomic<bool> over = false;        // all were taken
};

// The writer's whole life; to be called in the child. 0 when it came to its end.
int write_journal(const cache::WorkloadOptions& options, JournalSteps& steps);

// Opens what a writer left after it had begun `begun` steps, of which the first `taken` count as
// done: the others may have had their effect or not. Says what is wrong with it; "" for nothing.
// After a kill -9 all that was accepted must be there, after a power cut what was durable.
enum class After { kKill, kPowerCut };
std::string judge_journal(const cache::WorkloadOptions& options, std::uint64_t taken,
                          std::uint64_t begun, After after);

}  // namespace nacelle::crash
