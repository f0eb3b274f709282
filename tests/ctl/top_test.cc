// What top shows of two readings, and how it fits a terminal.
#include "ctl/top.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>

#include "ctl/output.h"

namespace nacelle::ctl {
namespace {

using control::Statistics;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// A sidecar at `seconds`: 100 requests and 0.5 s of the device's time in each.
Statistics reading(std::uint64_t seconds) {
  Statistics now;
  now.updates = seconds;
  now.uptime_ns = seconds * 1'000'000'000;
  now.serving = 1;
  now.requests = 100 * seconds;
  now.texts = 250 * seconds;
  now.tokens = 123'456 * seconds;
  now.busy_ns = 500'000'000 * seconds;
  now.queued_requests = 3;
  now.connections = 2;
  now.service_count = 1;
  auto& service = now.services[0];
  std::strcpy(service.name, "minilm");
  service.requests = now.requests;
  service.texts = now.texts;
  service.compute_ns = 400'000'000 * seconds;
  service.stages[6] = {50, 1'234'000, 98'700'000};
  service.stages[1] = {50, 9'100, 85'000};
  service.batch_texts_p50 = 16;
  service.batch_fill_percent_p50 = 42;
  now.client_count = 3;
  std::strcpy(now.clients[0].name, "(others)");
  std::strcpy(now.clients[1].name, "evil\x1b[2J한글");
  now.clients[1].requests = 25 * seconds;
  now.clients[1].compute_ns = 50'000'000 * seconds;
  std::strcpy(now.clients[2].name, "web");
  now.clients[2].uid = 1000;
  now.clients[2].requests = 75 * seconds;
  now.clients[2].compute_ns = 450'000'000 * seconds;
  return now;
}

TEST(Top, RatesAreBetweenTwoReadings) {
  const std::string text = top_text(reading(10), reading(12));
  EXPECT_EQ(text, R"(nacelled serving, up 12 s
  requests/s    100 (0.0 refused)
  texts/s       250 (123,456 tokens)
  device        50 % busy, 0.0 batches/s
  queue         3 requests, 0 tokens; 0 in flight
  connections   2
  memory        0 B resident

services
  name    requests/s  texts/s  tokens/s  compute  batch  fill  errors
  minilm         100      250       0.0     40 %     16  42 %       0

time, half of the requests / all but one in a hundred within
  name         request  batch_wait  compute    tokenize  ring  copy  reply
  minilm  1.2ms/98.7ms           -        -  9.1us/85us     -     -      -

clients
  name              uid  requests/s  texts/s  tokens/s  device  errors
  web              1000        75.0      0.0       0.0    45 %       0
  evil\x1b[2J한글     0        25.0      0.0       0.0     5 %       0
)");
}

TEST(Top, OneReadingHasNoRates) {
  EXPECT_THAT(top_text(reading(10), reading(10)), HasSubstr("requests/s    0.0 (0.0 refused)"));
  EXPECT_THAT(top_text(reading(10), reading(3)), HasSubstr("requests/s    0.0 (0.0 refused)"))
      << "another sidecar has come meanwhile";
}

TEST(Top, JsonHasTheCountsAndTheRates) {
  const auto json = top_json(reading(10), reading(12));
  EXPECT_EQ(json["requests"], 1200);
  EXPECT_EQ(json["requests_per_s"], 100.0);
  EXPECT_EQ(json["busy_percent"], 50.0);
  EXPECT_EQ(json["services"][0]["stages"]["request"]["p99_ns"], 98'700'000);
  EXPECT_EQ(json["clients"].size(), 3U);
  EXPECT_EQ(json["clients"][2]["device_percent"], 45.0);
}

TEST(Top, FitsWhateverSizeTheTerminalHas) {
  const std::string text = top_text(reading(1), reading(2));
  for (const std::size_t columns : {0UL, 1UL, 7UL, 40UL, 80UL, 500UL}) {
    for (const std::size_t rows : {0UL, 1UL, 2UL, 10UL, 100UL}) {
      const auto lines = fit(text, columns, rows);
      if (rows > 0) {
        EXPECT_LE(lines.size(), rows);
      }
      for (const std::string& line : lines) {
        EXPECT_LE(display_width(line), columns);
        EXPECT_EQ(printable(line), line) << "no half of a character";
      }
    }
  }
  EXPECT_EQ(fit("1\n2\n3\n4\n", 80, 3), (std::vector<std::string>{"1", "2", "... 2 more lines"}));
  EXPECT_EQ(fit("한글글\n", 5, 9), (std::vector<std::string>{"한글"}));
}

TEST(Top, TimesTakeSixColumnsAtMost) {
  const std::pair<std::uint64_t, std::string> rows[] = {{0, "0.0us"},
                                                        {1, "0.0us"},
                                                        {9'949, "9.9us"},
                                                        {9'950, "10us"},
                                                        {999'499, "999us"},
                                                        {1'000'000, "1.0ms"},
                                                        {99'940'000, "99.9ms"},
                                                        {100'000'000, "100ms"},
                                                        {9'999'000'000, "9999ms"},
                                                        {10'000'000'000, "10s"},
                                                        {1'000'000'000'000, "1000s"}};
  for (const auto& [ns, text] : rows) EXPECT_EQ(time_text(ns), text);
}

}  // namespace
}  // namespace nacelle::ctl
