// Buckets without gaps, quantiles within their promise, and nothing lost between threads.
#include "sidecar/metrics/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>
#include <thread>
#include <vector>

namespace nacelle::metrics {
namespace {

TEST(Histogram, EveryBucketEndsWhereTheNextBegins) {
  for (std::size_t i = 0; i + 1 < Histogram::kBuckets; ++i) {
    EXPECT_EQ(Histogram::bucket_of(Histogram::upper(i)), i) << "its upper end is inside";
    EXPECT_EQ(Histogram::bucket_of(Histogram::upper(i) + 1), i + 1);
    EXPECT_GT(Histogram::upper(i), Histogram::lower(i));
  }
  EXPECT_EQ(Histogram::bucket_of(0), 0U);
  EXPECT_EQ(Histogram::bucket_of(UINT64_MAX), Histogram::kBuckets - 1);
}

TEST(Histogram, EveryPowerOfTwoIsTheEndOfABucket) {
  for (unsigned power = 0; power < Histogram::kPowers; ++power) {
    const std::uint64_t value = std::uint64_t{1} << power;
    EXPECT_EQ(Histogram::upper(Histogram::bucket_of(value)), value);
  }
}

TEST(Histogram, WithoutValuesEverythingIsZero) {
  const auto histogram = std::make_unique<Histogram>();
  const auto empty = histogram->snapshot();
  EXPECT_EQ(empty.count, 0U);
  EXPECT_EQ(empty.quantile(0.99), 0U);
}

// Against the sorted values themselves, over six orders of magnitude.
TEST(Histogram, AQuantileIsNeverTooLowAndAtMostASixteenthTooHigh) {
  constexpr unsigned kSeed = 7;
  std::mt19937_64 random(kSeed);
  std::lognormal_distribution<double> times(12, 2.5);
  const auto histogram = std::make_unique<Histogram>();
  std::vector<std::uint64_t> values;
  for (int i = 0; i < 20'000; ++i) {
    values.push_back(static_cast<std::uint64_t>(times(random)));
    histogram->record(values.back());
  }
  std::sort(values.begin(), values.end());
  const auto seen = histogram->snapshot();
  EXPECT_EQ(seen.count, values.size());
  for (const double share : {0.01, 0.5, 0.9, 0.99, 0.999, 1.0}) {
    const auto rank =
        static_cast<std::size_t>(std::ceil(share * static_cast<double>(values.size()))) - 1;
    const auto exact = static_cast<double>(values[rank]);
    const auto told = static_cast<double>(seen.quantile(share));
    EXPECT_GE(told, exact) << share << ", seed " << kSeed;
    EXPECT_LE(told, exact * (1 + 1.0 / 16) + 1) << share << ", seed " << kSeed;
  }
}

TEST(Histogram, WhatCameSinceASnapshotIsTheDifference) {
  const auto histogram = std::make_unique<Histogram>();
  histogram->record(5);
  const auto before = histogram->snapshot();
  histogram->record(1000);
  const auto part = histogram->snapshot().since(before);
  EXPECT_EQ(part.count, 1U);
  EXPECT_EQ(part.sum, 1000U);
  EXPECT_EQ(part.quantile(0.5), Histogram::upper(Histogram::bucket_of(1000)));
}

TEST(Histogram, ThreadsLoseNothing) {
  constexpr int kThreads = 4;
  constexpr int kEach = 20'000;
  const auto histogram = std::make_unique<Histogram>();
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (std::uint64_t i = 0; i < kEach; ++i) histogram->record(i % 100);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(histogram->snapshot().count, std::uint64_t{kThreads} * kEach);
  EXPECT_EQ(histogram->snapshot().sum, kThreads * std::uint64_t{kEach} / 100 * 4950);
}

}  // namespace
}  // namespace nacelle::metrics
