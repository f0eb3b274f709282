// The page's seqlock, and its bytes as docs/formats/stats.md has them.
#include "sidecar/control/statistics.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <thread>

#include "sidecar/base/time.h"

namespace nacelle::control {
namespace {

std::unique_ptr<StatisticsPage> new_page() {
  auto page = std::make_unique<StatisticsPage>();
  page->magic = kStatisticsMagic;
  page->version = kStatisticsVersion;
  page->size = sizeof(StatisticsPage);
  return page;
}
std::span<const std::byte> bytes_of(const StatisticsPage& page) {
  return {reinterpret_cast<const std::byte*>(&page), sizeof page};
}

TEST(Statistics, WhatIsWrittenIsRead) {
  const auto page = new_page();
  const auto wrote = std::make_unique<Statistics>();
  wrote->requests = 7;
  wrote->service_count = 1;
  std::strcpy(wrote->services[0].name, "minilm");
  write_statistics(*page, *wrote);
  const auto read = read_statistics(bytes_of(*page));
  ASSERT_TRUE(read);
  EXPECT_EQ(std::memcmp(&*read, wrote.get(), sizeof *wrote), 0);
}

// The offsets of docs/formats/stats.md: a reader in another language counts on them.
TEST(Statistics, TheBytesLieWhereTheDocumentSays) {
  const auto page = new_page();
  const auto wrote = std::make_unique<Statistics>();
  wrote->updates = 1;
  wrote->uptime_ns = 2;
  wrote->client_count = 3;
  wrote->services[1].requests = 4;
  wrote->services[1].stages[6].p99_ns = 5;
  wrote->clients[0].compute_ns = 6;
  write_statistics(*page, *wrote);
  const auto word = [&page](std::size_t offset) {
    std::uint64_t value = 0;
    std::memcpy(&value, reinterpret_cast<const char*>(page.get()) + offset, sizeof value);
    return value;
  };
  EXPECT_EQ(std::memcmp(page.get(), "NLSTATS1", 8), 0);
  EXPECT_EQ(word(16), 2U) << "sequence";
  EXPECT_EQ(word(24), 1U) << "updates";
  EXPECT_EQ(word(32), 2U) << "uptime_ns";
  EXPECT_EQ(word(152), 3U) << "client_count";
  EXPECT_EQ(word(160 + 296 + 64), 4U) << "the second service's requests";
  EXPECT_EQ(word(160 + 296 + 64 + 48 + 6 * 24 + 16), 5U);
  EXPECT_EQ(word(160 + 64 * 296 + 104), 6U);
  EXPECT_EQ(sizeof(StatisticsPage), 160U + 64 * 296 + 65 * 112);
}

TEST(Statistics, AWriterThatDiedInTheMiddleDoesNotHoldTheReader) {
  const auto page = new_page();
  EXPECT_FALSE(read_statistics(bytes_of(*page))) << "never written";
  write_statistics(*page, Statistics{});
  page->sequence.fetch_add(1);
  EXPECT_FALSE(read_statistics(bytes_of(*page)));
}

TEST(Statistics, OtherVersionsAndLyingCountsAreNotBelieved) {
  const auto page = new_page();
  const auto wrote = std::make_unique<Statistics>();
  wrote->service_count = UINT64_MAX;
  wrote->client_count = 66;
  std::memset(wrote->services[0].name, 'x', sizeof wrote->services[0].name);
  write_statistics(*page, *wrote);
  const auto read = read_statistics(bytes_of(*page));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->service_count, kStatisticsServices);
  EXPECT_EQ(read->client_count, kStatisticsClients);
  EXPECT_EQ(std::strlen(read->services[0].name), 63U);
  page->version = 2;
  EXPECT_FALSE(read_statistics(bytes_of(*page)));
  page->version = kStatisticsVersion;
  EXPECT_FALSE(read_statistics(bytes_of(*page).first(100)));
}

TEST(Statistics, ReadersSeeNoHalfOfAPage) {
  const auto page = new_page();
  std::atomic<bool> done{false};
  write_statistics(*page, Statistics{});
  std::thread writer([&] {
    const auto next = std::make_unique<Statistics>();
    while (!done.load()) {
      ++next->requests;
      next->clients.back().compute_ns = next->requests;
      write_statistics(*page, *next);
      // As long again as a reader needs: pages come twice a second.
      const base::Nanos until = base::now_ns() + 50 * base::kMicrosecond;
      while (base::now_ns() < until) {
      }
    }
  });
  int whole = 0;
  for (int i = 0; i < 500 || (whole == 0 && i < 100'000); ++i) {
    const auto read = read_statistics(bytes_of(*page));
    if (!read) continue;
    ++whole;
    EXPECT_EQ(read->requests, read->clients.back().compute_ns);
  }
  done = true;
  writer.join();
  EXPECT_GT(whole, 0);
}

}  // namespace
}  // namespace nacelle::control
