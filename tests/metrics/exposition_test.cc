// The text of a page, byte for byte; tests/e2e/test_metrics.py reads a whole one strictly.
#include "sidecar/metrics/exposition.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace nacelle::metrics {
namespace {

using ::testing::HasSubstr;

TEST(Exposition, KeepsAFamilyTogetherHoweverItsSamplesCome) {
  constexpr Family kTexts = counter("texts_total", "Texts.");
  constexpr Family kDepth = gauge("depth", "Waiting.");
  Exposition page;
  page.add(kTexts, {{"service", "a"}}, 1U);
  page.add(kDepth, {}, 7U);
  page.add(kTexts, {{"service", "b"}}, 2U);
  EXPECT_EQ(page.text(),
            "# HELP texts_total Texts.\n# TYPE texts_total counter\n"
            "texts_total{service=\"a\"} 1\ntexts_total{service=\"b\"} 2\n"
            "# HELP depth Waiting.\n# TYPE depth gauge\ndepth 7\n");
}

TEST(Exposition, ACountIsExactUpToTheLargest) {
  Exposition page;
  page.add(counter("n_total", "N."), {}, UINT64_MAX);
  EXPECT_THAT(page.text(), HasSubstr("n_total 18446744073709551615\n"));
}

TEST(Exposition, AHistogramsBucketsAreCumulativeAndEndWithAll) {
  const auto histogram = std::make_unique<Histogram>();
  for (const std::uint64_t value : {1U, 2U, 3U, 4U, 1'000'000U}) histogram->record(value);
  Exposition page;
  page.add({"h", "H.", Type::kHistogram, 1, {0, 2}}, {{"s", "x"}}, *histogram);
  EXPECT_EQ(page.text(),
            "# HELP h H.\n# TYPE h histogram\n"
            "h_bucket{s=\"x\",le=\"1\"} 1\nh_bucket{s=\"x\",le=\"2\"} 2\n"
            "h_bucket{s=\"x\",le=\"4\"} 4\nh_bucket{s=\"x\",le=\"+Inf\"} 5\n"
            "h_sum{s=\"x\"} 1000010\nh_count{s=\"x\"} 5\n");
}

TEST(Exposition, TimesAreShownInSeconds) {
  const auto histogram = std::make_unique<Histogram>();
  histogram->record(1500);
  Exposition page;
  page.add(seconds_histogram("t_seconds", "T."), {}, *histogram);
  EXPECT_THAT(page.text(), HasSubstr("t_seconds_bucket{le=\"1.024e-06\"} 0\n"));
  EXPECT_THAT(page.text(), HasSubstr("t_seconds_bucket{le=\"2.048e-06\"} 1\n"));
  EXPECT_THAT(page.text(), HasSubstr("t_seconds_sum 1.5e-06\n"));
}

// Each row is a name that a client may give itself.
TEST(Exposition, WhateverALabelHoldsStaysBetweenItsQuotes) {
  struct Row {
    std::string given;
    std::string shown;
  };
  const Row rows[] = {
      {"plain", "plain"},
      {"a\"} 1\nfake_total 9", "a\\\"} 1\\nfake_total 9"},
      {"back\\slash", "back\\\\slash"},
      {"한글 🚀", "한글 🚀"},
      {"\xff\xfe!", "\xEF\xBF\xBD\xEF\xBF\xBD!"},
      {"cut \xed\x95", "cut \xEF\xBF\xBD\xEF\xBF\xBD"},
      {"", ""},
  };
  for (const Row& row : rows) EXPECT_EQ(escaped(row.given), row.shown);
  EXPECT_EQ(escaped(std::string("nul\0l", 5)), std::string("nul\0l", 5));
}

TEST(Exposition, ATableForTheDocuments) {
  Exposition page;
  page.add(counter("texts_total", "Texts."), {{"service", ""}, {"model", ""}}, 0U);
  EXPECT_THAT(page.markdown(),
              HasSubstr("| `texts_total` | counter | `service`, `model` | Texts. |\n"));
}

TEST(ExpositionDeathTest, OneNameDeclaredTwiceIsADefect) {
  Exposition page;
  page.add(counter("x_total", "One."), {}, 1U);
  EXPECT_DEATH(page.add(counter("x_total", "Another."), {}, 1U), "help");
}

}  // namespace
}  // namespace nacelle::metrics
