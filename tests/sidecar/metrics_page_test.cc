// docs/METRICS.md says what the declarations say.
#include "sidecar/metrics_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sidecar/base/file.h"

namespace nacelle::sidecar {
namespace {

using ::testing::HasSubstr;

TEST(MetricsPage, TheDocumentIsTheDeclarations) {
  const auto written = base::read_file(NACELLE_SOURCE_DIR "/docs/METRICS.md", 1 << 20);
  ASSERT_TRUE(written) << written.error().message;
  EXPECT_EQ(*written, metrics_markdown())
      << "run: build/dev/bin/nacelled --print-metrics-markdown > docs/METRICS.md";
}

TEST(MetricsPage, AClientsNameIsALabelAndCannotBreakTheLine) {
  Counters counters;
  const auto account = counters.accounts.open("evil\"} 1\nfake_total 2", 1000);
  account->requests.add(5);
  EXPECT_THAT(metrics_page(counters, {}, {}).text(),
              HasSubstr("nacelle_client_requests_total{client=\"evil\\\"} 1\\nfake_total 2\","
                        "uid=\"1000\"} 5\n"));
}

TEST(MetricsPage, RefusalsHaveTheirReasons) {
  Counters counters;
  counters.refused[static_cast<std::size_t>(base::Code::kBusy)].add(3);
  EXPECT_THAT(metrics_page(counters, {}, {}).text(),
              HasSubstr("nacelle_refused_total{reason=\"busy\"} 3\n"));
}

}  // namespace
}  // namespace nacelle::sidecar
