#include "tests/crash/journal_writer.h"

#include "sidecar/cache/files.h"
#include "sidecar/cache/journal.h"
#include "tests/sidecar/cache/crash_files.h"

namespace nacelle::crash {

int write_journal(const cache::WorkloadOptions& options, JournalSteps& steps) {
  cache::Workload workload(options);
  cache::Recovered before;
  auto journal =
      cache::Journal::open(cache::real_files(), workload.journal_options(), before.replay());
  if (!journal) return 2;
  workload.run(**journal, [&] {
    // A step that was refused, since the disk is gone, is no more than one that was begun.
    if (workload.refused() > 0) return true;
    ++steps.begun;
    return false;
  });
  if (workload.refused() > 0) return 3;
  steps.over = true;
  return 0;
}

std::string judge_journal(const cache::WorkloadOptions& options, std::uint64_t taken,
                          std::uint64_t begun, After after) {
  cache::Workload workload(options);
  cache::CrashFiles memory(1);
  cache::Recovered before;
  {
    auto journal = cache::Journal::open(memory, workload.journal_options(), before.replay());
    if (!journal) return "the same steps cannot be taken in memory";
    std::uint64_t steps = 0;
    workload.run(**journal, [&] {
      if (steps == taken) {
        if (after == After::kKill) workload.ledger().all_durable();
        workload.ledger().freeze();
      }
      return steps++ == begun;
    });
    if (workload.refused() > 0) return "a step was refused in memory";
  }
  cache::Recovered recovered;
  cache::JournalOptions plain = workload.journal_options();
  plain.keep = {};
  const auto journal = cache::Journal::open(cache::real_files(), plain, recovered.replay());
  if (!journal) return "it does not open: " + journal.error().message;
  if ((*journal)->stats().bytes > plain.bytes_max) return "it is too large";
  return workload.ledger().judge(recovered);
}

}  // namespace nacelle::crash
