// The table against std::map: whatever is asked of it in whatever order, what it gives is what was
// put last under that key and is neither expired nor taken back. It may have dropped any of it.
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "tests/sidecar/cache/small_cache.h"

namespace nacelle::cache {
namespace {

using nacelle::testing::cache_key;

struct Known {
  std::uint64_t version = 0;
  std::size_t size = 0;
  std::uint32_t service = 0;
  base::Nanos expires_mono = 0;
  std::int64_t created = 0;
  std::int64_t expires_wall = 0;
};

class Model {
 public:
  Model(std::uint64_t seed, const TableOptions& options)
      : random_(seed), cache_(options), reader_(cache_.reader(cache_->add_reader().value())) {}

  void step() {
    const std::uint64_t number = pick();
    switch (random_() % 100) {
      default:
        if (random_() % 3 == 0) {
          put(number);
        } else {
          look(number);
        }
        break;
      case 0:
        cache_.pass(static_cast<base::Nanos>(random_() % 20) * base::kSecond);
        break;
      case 1:  // the wall clock is set: back or ahead
        cache_.now.wall_ns += (static_cast<std::int64_t>(random_() % 41) - 20) * base::kSecond;
        break;
      case 2:
        cache_->maintain(cache_.now);
        break;
      case 3:
        EXPECT_TRUE(!cache_->invalidate(cache_key(number)) || known_.contains(number));
        known_.erase(number);
        break;
      case 4:
        if (random_() % 20 == 0) take_back_service(static_cast<std::uint32_t>(random_() % 8));
        break;
      case 5:
        if (random_() % 200 == 0) {
          cache_->invalidate_all();
          known_.clear();
        }
        break;
    }
  }

  // What is in the table is in the model, and the table's books agree with themselves.
  void audit() {
    std::uint64_t entries = 0;
    cache_->visit(0, cache_->slots(), [&](const Table::Seen& seen) {
      ++entries;
      std::uint64_t number = 0;
      std::memcpy(&number, seen.entry.head.data(), 8);
      const auto known = known_.find(number);
      ASSERT_NE(known, known_.end()) << number;
      EXPECT_EQ(seen.entry.key, cache_key(number));
      EXPECT_EQ(seen.entry.head.size() + seen.entry.body.size(), known->second.size);
      EXPECT_EQ(seen.entry.attributes.service, known->second.service);
      EXPECT_EQ(seen.expires_mono, known->second.expires_mono);
    });
    const TableStats stats = cache_->stats();
    EXPECT_EQ(entries, stats.entries);
    EXPECT_EQ(stats.segments_free + stats.segments_probation + stats.segments_main, stats.segments);
    EXPECT_GE(stats.segments_free, 1U);
    EXPECT_EQ(stats.hits + stats.misses, looks_);
    // Every put is in the index, or somebody said what became of it.
    EXPECT_EQ(stats.puts, stats.entries + stats.replaced + stats.too_large + stats.stale +
                              stats.evicted + stats.expired + stats.crowded_out +
                              stats.invalidated);
  }
  [[nodiscard]] std::uint64_t hits() const { return hits_; }
  [[nodiscard]] TableStats stats() const { return cache_->stats(); }

 private:
  // Few keys often, many seldom.
  std::uint64_t pick() {
    const std::uint64_t range = std::uint64_t{1} << (random_() % 12);
    return random_() % range;
  }

  void put(std::uint64_t number) {
    Attributes attributes{.ttl_s = std::uint32_t{1} << (random_() % 14),
                          .service = static_cast<std::uint32_t>(random_() % 8),
                          .source = static_cast<Source>(random_() % 3)};
    const std::size_t size = 16 + random_() % (random_() % 50 == 0 ? 2200 : 300);
    const std::int64_t made =
        cache_.now.wall_ns + (static_cast<std::int64_t>(random_() % 10) - 8) * base::kSecond / 4;
    std::vector<std::byte> value(size);
    testing::fill_value(value, number, ++version_);
    const std::span<const std::byte> all(value);
    const bool kept = cache_->put(
        {cache_key(number), all.first(16), all.subspan(16), attributes, made}, cache_.now);
    const std::int64_t ttl = std::int64_t{attributes.ttl_s} * base::kSecond;
    const std::int64_t age = std::max<std::int64_t>(0, cache_.now.wall_ns - made);
    EXPECT_EQ(kept, size <= 2000 && age < ttl && made <= cache_.now.wall_ns + base::kSecond);
    if (!kept) return;  // what was there before stays
    known_[number] = {.version = version_,
                      .size = size,
                      .service = attributes.service,
                      .expires_mono = cache_.now.mono + ttl - age,
                      .created = made,
                      .expires_wall = made + ttl};
  }

  void look(std::uint64_t number) {
    const auto known = known_.find(number);
    const std::size_t size = known == known_.end() ? 200 : known->second.size;
    const bool here = random_() % 2 == 0;
    looks_ += here ? 1U : 0U;
    const auto got = here ? cache_.get(number, size) : cache_.read(*reader_, number, size);
    if (!got) return;
    ++hits_;
    ASSERT_NE(known, known_.end()) << number;
    EXPECT_EQ(*got, known->second.version) << number;
    EXPECT_LT(cache_.now.mono, known->second.expires_mono);
    EXPECT_LT(cache_.now.wall_ns, known->second.expires_wall);
    EXPECT_LE(known->second.created, cache_.now.wall_ns + base::kSecond);
  }

  void take_back_service(std::uint32_t service) {
    cache_->invalidate_service(service);
    std::erase_if(known_, [&](const auto& entry) { return entry.second.service == service; });
  }

  std::mt19937_64 random_;
  SmallCache cache_;
  std::unique_ptr<shm::CacheReader> reader_;
  std::map<std::uint64_t, Known> known_;
  std::uint64_t version_ = 0;
  std::uint64_t looks_ = 0;
  std::uint64_t hits_ = 0;
};

void run(std::uint64_t seed, const TableOptions& options) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  Model model(seed, options);
  for (int step = 0; step < 60'000; ++step) {
    model.step();
    if (step % 2000 == 0) model.audit();
    if (::testing::Test::HasFailure()) return;
  }
  model.audit();
  EXPECT_GT(model.hits(), 5000U);
  EXPECT_GT(model.stats().evicted + model.stats().crowded_out, 1000U);
  EXPECT_GT(model.stats().expired, 100U);
}

TEST(CacheModel, ATableNeverGivesWhatAMapWouldNot) {
  TableOptions options = kSmall;
  options.memory_bytes = 128 << 10;
  for (std::uint64_t seed = 1; seed <= 6; ++seed) run(seed, options);
}

// With an index that is far too small: entries are crowded out all the time.
TEST(CacheModel, NorWithAFullIndex) {
  TableOptions options = kSmall;
  options.entry_bytes_typical = 2000;
  run(7, options);
}

}  // namespace
}  // namespace nacelle::cache
