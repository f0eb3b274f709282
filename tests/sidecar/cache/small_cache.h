// A small table on a clock that the test moves, with values that describe themselves.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "shm/cache_reader.h"
#include "sidecar/cache/cache.h"
#include "tests/support/cache_values.h"

namespace nacelle::cache {

inline constexpr TableOptions kSmall{.memory_bytes = 256 << 10,
                                     .segment_bytes = 4096,
                                     .entry_bytes_max = 2000,
                                     .entry_bytes_typical = 128,
                                     .readers_max = 2,
                                     .touches = 64};

class SmallCache {
 public:
  explicit SmallCache(const TableOptions& options = kSmall) {
    auto table = Table::create(options);
    EXPECT_TRUE(table) << table.error().message;
    table_ = *std::move(table);
  }
  Table& operator*() const { return *table_; }
  Table* operator->() const { return table_.get(); }

  Times now{.mono = 1000 * base::kSecond, .wall_ns = 1'700'000'000 * base::kSecond};
  void pass(base::Nanos nanos) {
    now.mono += nanos;
    now.wall_ns += nanos;
  }

  bool put(std::uint64_t number, std::uint64_t version = 1, std::size_t size = 200,
           Attributes attributes = {.ttl_s = 3600}) {
    return put(testing::cache_key(number), number, version, size, attributes);
  }
  bool put(const shm::CacheKey& key, std::uint64_t number, std::uint64_t version, std::size_t size,
           Attributes attributes = {.ttl_s = 3600}) {
    std::vector<std::byte> value(size);
    testing::fill_value(value, number, version);
    const std::span<const std::byte> all(value);
    return table_->put({key, all.first(16), all.subspan(16), attributes, now.wall_ns}, now);
  }
  // The version that is there; what is not whole fails the test.
  std::optional<std::uint64_t> get(std::uint64_t number, std::size_t size = 200) {
    return looked(number, size, [&](const auto& key, auto head, auto body) {
      return table_->get(key, head, body, now);
    });
  }
  std::optional<std::uint64_t> read(const shm::CacheReader& reader, std::uint64_t number,
                                    std::size_t size = 200) const {
    return looked(number, size, [&](const auto& key, auto head, auto body) {
      return reader.get(key, head, body, now);
    });
  }
  std::unique_ptr<shm::CacheReader> reader(base::Fd touches = {}) const {
    auto opened = shm::CacheReader::open(base::Fd(::dup(table_->fd())), std::move(touches));
    EXPECT_TRUE(opened) << opened.error().message;
    return *std::move(opened);
  }

 private:
  template <typename Get>
  static std::optional<std::uint64_t> looked(std::uint64_t number, std::size_t size,
                                             const Get& get) {
    std::vector<std::byte> value(size);
    const std::span<std::byte> all(value);
    if (!get(testing::cache_key(number), all.first(16), all.subspan(16))) return std::nullopt;
    const auto version = testing::version_of(value, number);
    EXPECT_TRUE(version) << "a torn value of key " << number;
    return version;
  }
  std::unique_ptr<Table> table_;
};

}  // namespace nacelle::cache
