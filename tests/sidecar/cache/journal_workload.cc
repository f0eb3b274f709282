#include "tests/sidecar/cache/journal_workload.h"

#include <vector>

namespace nacelle::cache {
namespace {

constexpr std::uint32_t kKeys = 12;
constexpr std::size_t kBodyBytesMax = 3000;

}  // namespace

std::string name_of(Durability durability) {
  constexpr const char* kNames[] = {"none", "interval", "always"};
  return kNames[static_cast<std::size_t>(durability)];
}

Workload::Workload(const WorkloadOptions& options) : options_(options), random_(options.seed) {}

JournalOptions Workload::journal_options() {
  JournalOptions journal{.directory = options_.directory,
                         .bytes_max = options_.bytes_max,
                         .segment_bytes = options_.segment_bytes,
                         .durability = options_.durability,
                         .keep = {}};
  journal.keep = [this](const Entry& entry) {
    const std::uint32_t key = ledger_key(entry);
    ledger_.dropped(key, ledger_number(entry));
    return options_.carries && ledger_.is_current(key, ledger_number(entry));
  };
  return journal;
}

void Workload::acknowledge(bool good, std::uint64_t from) {
  if (good) {
    ++acknowledged_;
  } else {
    ++refused_;
    ledger_.refused(from);
  }
}

void Workload::append(Journal& journal) {
  std::vector<Value> values;
  std::vector<Entry> entries;
  const std::uint64_t from = ledger_.next();
  const std::size_t count = 1 + random_() % 4;
  values.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    const auto key = static_cast<std::uint32_t>(random_() % kKeys);
    const std::uint64_t number = ledger_.put(key);
    values.push_back(value_of(key, number, random_() % kBodyBytesMax));
    entries.push_back(entry_of(key, number, values.back()));
  }
  const bool good = journal.append(entries).has_value();
  if (options_.durability == Durability::kAlways) {
    if (good) ledger_.all_durable();
    acknowledge(good, from);
  } else if (!good) {
    acknowledge(false, from);
  }
}

void Workload::run(Journal& journal, const std::function<bool()>& done) {
  for (int step = 0; step < options_.steps && !(done && done()); ++step) {
    const std::uint64_t what = random_() % 32;
    const std::uint64_t from = ledger_.next();
    // Under kNone only what takes away is ever synced, and with it no more than its own segment.
    const bool all = options_.durability != Durability::kNone;
    if (what == 0) {
      const std::uint32_t keys[] = {static_cast<std::uint32_t>(random_() % kKeys),
                                    static_cast<std::uint32_t>(random_() % kKeys)};
      const shm::CacheKey bytes[] = {key_of(keys[0]), key_of(keys[1])};
      for (const std::uint32_t key : keys) ledger_.erased(key);
      const bool good = journal.erase(bytes).has_value();
      acknowledge(good, from);
      for (const std::uint32_t key : keys) {
        if (good) ledger_.durable(key);
      }
      if (good && all) ledger_.all_durable();
    } else if (what == 1) {
      const auto service = static_cast<std::uint32_t>(random_() % 3);
      ledger_.purged(service, kKeys);
      const bool good = journal.purge_service(service).has_value();
      acknowledge(good, from);
      for (std::uint32_t key = service; good && key < kKeys; key += 3) ledger_.durable(key);
    } else if (what == 2 && random_() % 4 == 0) {
      ledger_.purged(std::nullopt, kKeys);
      const bool good = journal.purge().has_value();
      acknowledge(good, from);
      if (good) ledger_.all_durable();
    } else if (what < 8) {
      const bool good = journal.sync().has_value();
      if (good && all) ledger_.all_durable();
      if (all) acknowledge(good, from);
    } else {
      append(journal);
    }
  }
}

}  // namespace nacelle::cache
