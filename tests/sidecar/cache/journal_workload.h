// A run of everything that a journal is asked to do, the same for the same seed, with its ledger.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>

#include "tests/sidecar/cache/journal_ledger.h"

namespace nacelle::cache {

std::string name_of(Durability durability);

struct WorkloadOptions {
  Durability durability = Durability::kAlways;
  std::uint64_t seed = 1;
  int steps = 100;
  bool carries = false;  // the journal's `keep` keeps what is current
  std::string directory = "cache";
  std::uint64_t bytes_max = 96 << 10;
  std::uint64_t segment_bytes = 16 << 10;
};

class Workload {
 public:
  explicit Workload(const WorkloadOptions& options);

  // How the journal must be opened, so that the ledger hears of what is dropped.
  [[nodiscard]] JournalOptions journal_options();
  // All steps, or until `done` says so before one.
  void run(Journal& journal, const std::function<bool()>& done = {});
  [[nodiscard]] Ledger& ledger() { return ledger_; }
  // Durable acknowledgements given so far.
  [[nodiscard]] std::uint64_t acknowledged() const { return acknowledged_; }
  // Calls that ended in an error.
  [[nodiscard]] std::uint64_t refused() const { return refused_; }

 private:
  void append(Journal& journal);
  void acknowledge(bool good, std::uint64_t from);  // `from`: the call's first number

  const WorkloadOptions options_;
  std::mt19937_64 random_;
  Ledger ledger_;
  std::uint64_t acknowledged_ = 0;
  std::uint64_t refused_ = 0;
};

}  // namespace nacelle::cache
