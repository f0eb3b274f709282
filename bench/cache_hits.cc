// A hit in the result cache's memory: CacheReader::get of a value of 1.5 KiB, beside a look-up and
// copy in an unordered_map<string, ...> of the same process, and beside the bare copy of the same
// bytes. Keys are ready: hashing is not in here. What is got is compared with what was put before
// anything is timed.
//
// Each call is timed by itself, between two fences, so that neighbours do not overlap; what an
// empty call takes is subtracted. Keys come in a random order, the same for all three. (x86 only,
// as the cycle counter is.)
#include <unistd.h>
#include <x86intrin.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

#include "bench/harness.h"
#include "shm/cache_clock.h"
#include "shm/cache_reader.h"
#include "shm/region.h"
#include "sidecar/base/check.h"
#include "sidecar/cache/cache.h"

namespace nacelle::bench {
namespace {

constexpr std::size_t kHead = 16;
constexpr std::size_t kValue = kHead + 1536;  // 384 floats
constexpr std::size_t kCalls = 100'000;       // of a run
constexpr unsigned kRuns = 9;

std::uint64_t begin_cycles() {
  _mm_lfence();
  const std::uint64_t now = __rdtsc();
  _mm_lfence();
  return now;
}
std::uint64_t end_cycles() {
  unsigned processor = 0;
  const std::uint64_t now = __rdtscp(&processor);
  _mm_lfence();
  return now;
}

double nanos_per_cycle() {
  const base::Nanos begin = base::now_ns();
  const std::uint64_t cycles = __rdtsc();
  while (base::now_ns() - begin < 50 * base::kMillisecond) {
  }
  return static_cast<double>(base::now_ns() - begin) / static_cast<double>(__rdtsc() - cycles);
}

struct Quantiles {
  std::vector<double> p50, p99;  // of each run
};

class Bench {
 public:
  explicit Bench(std::size_t entries) : entries_(entries) {
    std::mt19937_64 random(entries);
    const std::uint64_t each = shm::entry_size(kValue);
    auto table = cache::Table::create({.memory_bytes = entries * each * 5 / 4 + (8U << 20),
                                       .entry_bytes_max = kValue,
                                       .entry_bytes_typical = kValue,
                                       .readers_max = 1});
    CHECK(table.has_value());
    table_ = *std::move(table);
    const cache::Times now = shm::coarse_times();
    keys_.resize(entries);
    make_values(random);
    for (std::size_t i = 0; i < entries; ++i) {
      for (std::byte& byte : keys_[i].bytes) byte = static_cast<std::byte>(random());
      const std::span<const std::byte> value(value_of(i), kValue);
      CHECK(table_->put(
          {keys_[i], value.first(kHead), value.subspan(kHead), {.ttl_s = 86'400}, now.wall_ns},
          now));
      map_.emplace(name_of(i), std::vector<std::byte>(value.begin(), value.end()));
    }
    for (std::size_t i = 0; i < kCalls; ++i) order_.push_back(random() % entries);
    auto touches = table_->add_reader();
    CHECK(touches.has_value());
    auto reader = shm::CacheReader::open(base::Fd(::dup(table_->fd())), *std::move(touches));
    CHECK(reader.has_value());
    reader_ = *std::move(reader);
    verify();
  }

  void race(Report& report, double nanos) {
    std::array<Quantiles, 4> all;
    for (unsigned run = 0; run < kRuns; ++run) {
      time(all[0], [&](std::size_t) { return true; });
      time(all[1], [&](std::size_t i) { return hit(i); });
      time(all[2], [&](std::size_t i) { return find(i); });
      time(all[3], [&](std::size_t i) { return copy(i); });
    }
    const double empty = summarize(all[0].p50).median;
    const auto summary = [&](std::vector<double> cycles) {
      for (double& value : cycles) value = std::max(0.0, value - empty) * nanos;
      return summarize(std::move(cycles));
    };
    const auto row = [&](const char* quantile, std::vector<double> Quantiles::*of) {
      const std::string name = "hit of 1.5 KiB, " + std::to_string(entries_) + " entries, ";
      if (!report.wants(name + quantile)) return;
      report.add({.bench = "cache_hits",
                  .name = name + quantile,
                  .unit = "ns",
                  .ours = summary(all[1].*of),
                  .peer = summary(all[2].*of).median,
                  .peer_name = "unordered_map<string>",
                  .bound = summary(all[3].*of).median,
                  .bound_name = "memcpy of the value",
                  .runs = kRuns});
    };
    row("p50", &Quantiles::p50);
    row("p99", &Quantiles::p99);
  }

 private:
  // In memory of the same kind as region C: with the same pages, which decide much of the time.
  void make_values(std::mt19937_64& random) {
    const std::uint64_t size = entries_ * kValue;
    const auto fd = shm::create_region("bench-values", size);
    CHECK(fd.has_value());
    auto mapped = shm::Mapping::map(fd.value().get(), size, shm::Access::kReadWrite);
    CHECK(mapped.has_value());
    values_ = *std::move(mapped);
    for (std::uint64_t i = 0; i < size; ++i) values_.data()[i] = static_cast<std::byte>(random());
  }
  [[nodiscard]] const std::byte* value_of(std::size_t i) const {
    return values_.data() + i * kValue;
  }
  [[nodiscard]] std::string name_of(std::size_t i) const {
    return {reinterpret_cast<const char*>(keys_[i].bytes.data()), keys_[i].bytes.size()};
  }
  bool hit(std::size_t i) {
    return reader_->get(keys_[i], {out_.data(), kHead}, {out_.data() + kHead, kValue - kHead});
  }
  bool find(std::size_t i) {
    name_.assign(reinterpret_cast<const char*>(keys_[i].bytes.data()), keys_[i].bytes.size());
    const auto found = map_.find(name_);
    if (found == map_.end()) return false;
    std::memcpy(out_.data(), found->second.data(), kValue);
    return true;
  }
  bool copy(std::size_t i) {
    std::memcpy(out_.data(), value_of(i), kValue);
    return true;
  }
  void verify() {
    for (std::size_t i = 0; i < entries_; ++i) {
      for (const bool found : {hit(i), find(i)}) CHECK(found);
      out_.fill(std::byte{0});
      CHECK(hit(i) && std::memcmp(out_.data(), value_of(i), kValue) == 0);
      out_.fill(std::byte{0});
      CHECK(find(i) && std::memcmp(out_.data(), value_of(i), kValue) == 0);
    }
  }

  template <typename Call>
  void time(Quantiles& into, const Call& call) {
    std::vector<std::uint32_t> cycles;
    cycles.reserve(kCalls);
    bool all = true;
    for (const std::size_t i : order_) {
      const std::uint64_t begin = begin_cycles();
      all = call(i) && all;
      cycles.push_back(static_cast<std::uint32_t>(end_cycles() - begin));
    }
    CHECK(all);
    std::sort(cycles.begin(), cycles.end());
    into.p50.push_back(cycles[kCalls / 2]);
    into.p99.push_back(cycles[kCalls * 99 / 100]);
  }

  std::size_t entries_;
  std::unique_ptr<cache::Table> table_;
  std::unique_ptr<shm::CacheReader> reader_;
  std::vector<shm::CacheKey> keys_;
  shm::Mapping values_;
  std::unordered_map<std::string, std::vector<std::byte>> map_;
  std::vector<std::size_t> order_;
  std::string name_;
  alignas(64) std::array<std::byte, kValue> out_{};
};

int run(const Options& options) {
  Report report(options);
  const double nanos = nanos_per_cycle();
  for (const std::size_t entries : {500UL, 100'000UL}) Bench(entries).race(report, nanos);
  const auto written = report.finish();
  if (!written) {
    std::fprintf(stderr, "bench_cache: %s\n", written.error().message.c_str());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace nacelle::bench

int main(int argc, char** argv) {
  const auto options = nacelle::bench::parse_options({argv, static_cast<std::size_t>(argc)});
  if (!options) {
    std::fprintf(stderr, "bench_cache: %s\n", options.error().message.c_str());
    return 2;
  }
  return nacelle::bench::run(*options);
}
