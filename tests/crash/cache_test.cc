// C6: a cache's writer that dies at any instruction of a put, of an eviction and recycling, or of
// taking answers back, leaves its readers with whole values and misses, and none of them waits.
//
// The writer is single-stepped. At each boundary it stands still while another process reads every
// key: that memory is what a writer that is killed there leaves behind. At some boundaries it is
// killed indeed.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "shm/cache_reader.h"
#include "sidecar/base/check.h"
#include "sidecar/cache/cache.h"
#include "tests/crash/process.h"
#include "tests/crash/stepper.h"
#include "tests/crash/trials.h"
#include "tests/crash/victim_heap.h"
#include "tests/support/cache_values.h"

namespace nacelle::crash {
namespace {

constexpr std::uint64_t kKeys = 150;
constexpr std::size_t kValue = 104;
constexpr std::uint64_t kLongStride = 16;
constexpr std::size_t kBoundariesMax = 1'000'000;
constexpr cache::Times kStart{.mono = 1000 * base::kSecond,
                              .wall_ns = 1'700'000'000 * base::kSecond};

constexpr cache::TableOptions kOptions{.memory_bytes = 40 << 10,
                                       .segment_bytes = 1024,
                                       .entry_bytes_max = 200,
                                       .entry_bytes_typical = kValue,
                                       .readers_max = 1,
                                       .touches = 64};

// What a writer does, one step after another: always the same.
class Writer {
 public:
  Writer() : table_(cache::Table::create(kOptions).value()) {}
  [[nodiscard]] const cache::Table& table() const { return *table_; }

  // A put of one key; one in three is looked at before, so that some are popular.
  void prepare() {
    if (step_ % 3 == 0) {
      value_.resize(kValue);
      table_->get(testing::cache_key(testing::mixed(step_) % kKeys), {}, value_, kStart);
    }
    const std::uint64_t random = testing::mixed(step_ + 1'000'000);
    number_ = random % 4 == 0 ? random / 4 % (kKeys / 10) : random / 4 % kKeys;
    value_.resize(kValue);
    testing::fill_value(value_, number_, ++step_);
  }
  void put() {
    const std::span<const std::byte> all(value_);
    CHECK(table_->put({testing::cache_key(number_),
                       all.first(16),
                       all.subspan(16),
                       {.ttl_s = number_ % 2 == 0 ? 60U : 3600U},
                       kStart.wall_ns},
                      kStart));
  }
  void invalidate_service() { table_->invalidate_service(0); }
  void expire() {
    table_->maintain({kStart.mono + 100 * base::kSecond, kStart.wall_ns + 100 * base::kSecond});
  }

 private:
  std::unique_ptr<cache::Table> table_;
  std::uint64_t step_ = 0;
  std::uint64_t number_ = 0;
  std::vector<std::byte> value_;
};

enum class Act { kPut, kReplace, kPromote, kCarry, kInvalidate, kExpire };
std::string name_of(Act act) {
  constexpr const char* kNames[] = {"put", "replace", "promote", "carry", "invalidate", "expire"};
  return kNames[static_cast<std::size_t>(act)];
}
bool is_put(Act act) { return act < Act::kInvalidate; }

// Whether the put between the two was of that kind.
bool was(Act act, const cache::TableStats& before, const cache::TableStats& after) {
  const bool evicted = after.segments_evicted > before.segments_evicted;
  switch (act) {
    case Act::kPut:
      return !evicted && after.replaced == before.replaced;
    case Act::kReplace:
      return !evicted && after.replaced > before.replaced;
    case Act::kPromote:
      return after.promoted > before.promoted && after.evicted > before.evicted;
    case Act::kCarry:
      return after.carried > before.carried && after.evicted > before.evicted;
    default:
      return false;
  }
}

// How many puts come before the first of that kind in a table that has long been full.
int puts_before(Act act) {
  constexpr int kFull = 1000;
  constexpr int kMost = 20'000;
  if (!is_put(act)) return kFull;
  Writer writer;
  cache::TableStats before = writer.table().stats();
  for (int puts = 0; puts < kMost; ++puts) {
    writer.prepare();
    writer.put();
    const cache::TableStats after = writer.table().stats();
    if (puts >= kFull && was(act, before, after)) return puts;
    before = after;
  }
  return -1;
}

// What the writer's process tells the test.
struct Said {
  std::atomic<int> fd{-1};
};

int act_out(Act act, int puts, Said& said) {
  use_victim_heap();
  if (!let_parent_trace()) return 1;
  Writer writer;
  for (int i = 0; i < puts; ++i) {
    writer.prepare();
    writer.put();
  }
  writer.prepare();
  said.fd.store(writer.table().fd());
  marker(Marker::kReady);
  marker(Marker::kBegin);
  switch (act) {
    case Act::kInvalidate:
      writer.invalidate_service();
      break;
    case Act::kExpire:
      writer.expire();
      break;
    default:
      writer.put();
  }
  marker(Marker::kEnd);
  return 0;
}

struct Victim {
  Victim(Act act, int puts) : said(shared<Said>()) {
    said.fd.store(-1);
    process = Process::fork([&] { return act_out(act, puts, said); });
  }
  // Maps the region as a client would: read-only, from the descriptor.
  std::unique_ptr<shm::CacheReader> reader() const {
    const std::string path =
        "/proc/" + std::to_string(process.pid()) + "/fd/" + std::to_string(said.fd.load());
    auto opened = shm::CacheReader::open(base::Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC)), {});
    EXPECT_TRUE(opened) << opened.error().message;
    return *std::move(opened);
  }
  Said& said;
  Process process;
};

struct Reads {
  std::uint64_t hits = 0;
  std::uint64_t misses = 0;
  std::uint64_t torn = 0;
  std::uint64_t fewest = kKeys;  // hits of one look at all keys
};

void read_all(const shm::CacheReader& reader, Reads& reads) {
  std::array<std::byte, kValue> value;
  std::uint64_t hits = 0;
  for (std::uint64_t number = 0; number < kKeys; ++number) {
    if (!reader.get(testing::cache_key(number), {}, value, kStart)) {
      ++reads.misses;
      continue;
    }
    ++hits;
    reads.torn += testing::version_of(value, number) ? 0U : 1U;
  }
  reads.hits += hits;
  reads.fewest = std::min(reads.fewest, hits);
}

class CacheWriterTest : public ::testing::TestWithParam<Act> {};

TEST_P(CacheWriterTest, KilledAtAnyInstructionItLeavesWholeValuesAndMisses) {
  Trials trials("C6", is_put(GetParam()) ? 30 : 4);
  {
    Process probe = Process::fork([] { return let_parent_trace() ? 0 : 1; });
    if (probe.wait() != 0) GTEST_SKIP() << "no ptrace of one's own children here";
  }
  const Act act = GetParam();
  const int puts = puts_before(act);
  ASSERT_GE(puts, 0) << "no such put";

  // All that is in the table, or all of its segments: long, and the same over and over.
  const std::uint64_t stride =
      from_environment("CAMPAIGN_STRIDE", kFewer * (is_put(act) ? 1 : kLongStride));
  Reads reads;
  std::uint64_t looks = 0;
  std::optional<Boundaries> boundaries;
  {
    Victim victim(act, puts);
    Stepper stepper(victim.process.pid(), {});
    ASSERT_TRUE(stepper.run_to(Marker::kReady));
    const auto reader = victim.reader();
    ASSERT_TRUE(stepper.run_to(Marker::kBegin));
    std::uint64_t at = 0;
    boundaries = stepper.record(kBoundariesMax, [&] {
      if (at++ % stride != 0) return;
      ++looks;
      read_all(*reader, reads);
    });
    ASSERT_TRUE(boundaries) << "the act did not come to its end";
  }
  const std::size_t count = boundaries->addresses.size();
  EXPECT_EQ(reads.torn, 0U);
  if (is_put(act)) {
    EXPECT_GT(reads.fewest, kKeys / 4) << "only what is evicted goes";
  }

  Reads after;
  std::uint64_t killed = 0;
  for (std::uint64_t i = 0; i < trials.count(); ++i) {
    const std::size_t k = trials.below(count);
    Victim victim(act, puts);
    Stepper stepper(victim.process.pid(), {});
    ASSERT_TRUE(stepper.run_to(Marker::kReady));
    const auto reader = victim.reader();
    ASSERT_TRUE(stepper.run_to(Marker::kBegin));
    killed += stepper.reach(*boundaries, k) ? 1U : 0U;
    victim.process.kill();
    read_all(*reader, after);
    trials.ran();
  }
  EXPECT_EQ(after.torn, 0U);
  EXPECT_EQ(killed, trials.count()) << "some went another way";
  const std::string notes =
      name_of(act) + ": read at " + std::to_string(looks) + " of " + std::to_string(count) +
      " boundaries, " + std::to_string(reads.hits) + " hits, " + std::to_string(reads.misses) +
      " misses, " + std::to_string(reads.torn) + " torn; after kills " +
      std::to_string(after.hits) + " hits, " + std::to_string(after.torn) + " torn";
  std::cout << notes << "\n";
  trials.report(reads.torn + after.torn, notes);
}

INSTANTIATE_TEST_SUITE_P(Acts, CacheWriterTest,
                         ::testing::Values(Act::kPut, Act::kReplace, Act::kPromote, Act::kCarry,
                                           Act::kInvalidate, Act::kExpire),
                         [](const auto& act) { return name_of(act.param); });

}  // namespace
}  // namespace nacelle::crash
