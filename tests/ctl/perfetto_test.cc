// The picture of a trace: every event well-formed, slices nested, arrows that meet their slices.
#include "ctl/perfetto.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace nacelle::ctl {
namespace {

using nlohmann::json;

// Two clients with two slots each; batches of up to three requests, one after the other; every
// tenth request is refused while it waits.
control::TraceReport busy(unsigned seed) {
  std::mt19937 random(seed);
  control::TraceReport report;
  report.stages = {"tokenize", "batch_wait", "compute", "copy", "reply"};
  report.services = {"minilm"};
  report.clients = {{1, "web"}, {2, "evil\"\\name"}};
  std::uint64_t now = 5'000'000;
  std::uint64_t number = 0;
  for (std::uint64_t b = 1; b <= 200; ++b) {
    control::TracedBatch batch{.number = b, .texts = 3, .tokens = 30, .clients = 2};
    std::vector<control::TracedRequest> inside;
    for (std::uint64_t i = 0; i < 1 + random() % 4; ++i) {
      control::TracedRequest request;
      request.client = 1 + i % 2;
      request.slot = static_cast<std::uint32_t>(i / 2);
      request.outcome = "ok";
      request.ring_ns = random() % 900'000;  // often more than since the slot's last reply
      request.taken_ns = now += random() % 1000;
      request.tokenized_ns = now += random() % 10'000;
      inside.push_back(request);
    }
    batch.begin_ns = now += random() % 1000;
    batch.gathered_ns = now += random() % 100;
    batch.computed_ns = now += random() % 100'000;
    batch.end_ns = now += random() % 100;
    for (control::TracedRequest& request : inside) {
      request.number = ++number;
      const bool ran = number % 10 != 0;
      request.replied_ns = now += random() % 300;
      const std::uint64_t total = request.replied_ns - request.taken_ns;
      const std::uint64_t tokenize = request.tokenized_ns - request.taken_ns;
      if (ran) {
        request.first_begin_ns = batch.begin_ns;
        request.last_end_ns = batch.end_ns;
        request.first_batch = request.last_batch = b;
        const std::uint64_t compute = batch.computed_ns - batch.gathered_ns;
        const std::uint64_t wait = batch.begin_ns - request.tokenized_ns;
        const std::uint64_t copy = batch.end_ns - batch.begin_ns - compute;
        request.stage_ns = {tokenize, wait, compute, copy, request.replied_ns - batch.end_ns};
      } else {
        request.outcome = "deadline_exceeded";
        request.stage_ns = {tokenize, total - tokenize, 0, 0, 0};
      }
      report.requests.push_back(request);
    }
    report.batches.push_back(batch);
  }
  return report;
}

using TrackOf = std::pair<int, int>;
TrackOf track_of(const json& event) { return {event["pid"].get<int>(), event["tid"].get<int>()}; }
// In nanoseconds again, as whole numbers: floating microseconds are good to a fraction of one.
std::int64_t ns(const json& microseconds) {
  return static_cast<std::int64_t>(microseconds.get<double>() * 1000 + 0.5);
}

TEST(Perfetto, EveryEventHasWhatTheFormatAsksFor) {
  const json picture = json::parse(perfetto(busy(1)).dump());
  ASSERT_TRUE(picture["traceEvents"].is_array());
  std::map<std::string, int> phases;
  for (const json& event : picture["traceEvents"]) {
    ASSERT_TRUE(event["name"].is_string() && event["cat"].is_string()) << event;
    ASSERT_TRUE(event["pid"].is_number_integer() && event["tid"].is_number_integer()) << event;
    ASSERT_TRUE(event["ts"].is_number() && event["ts"] >= 0.0) << event;
    const auto phase = event["ph"].get<std::string>();
    ++phases[phase];
    if (phase == "X") {
      ASSERT_TRUE(event["dur"].is_number() && event["dur"] >= 0.0) << event;
    }
    if (phase == "M") {
      ASSERT_TRUE(event["args"].is_object()) << event;
    }
    if (std::string("bestf").find(phase) != std::string::npos) {
      ASSERT_TRUE(event["id"].is_number()) << event;
    }
  }
  EXPECT_GT(phases["X"], 1000);
  EXPECT_EQ(phases["b"], phases["e"]);
  EXPECT_EQ(phases["s"], phases["f"]);
  EXPECT_GT(phases["t"], 0);
}

TEST(Perfetto, SlicesOfATrackNestOrFollowEachOther) {
  for (const unsigned seed : {1U, 2U, 3U}) {
    std::map<TrackOf, std::vector<std::pair<std::int64_t, std::int64_t>>> slices;
    const json picture = perfetto(busy(seed));
    for (const json& event : picture["traceEvents"]) {
      if (event["ph"] != "X") continue;
      const std::int64_t begin = ns(event["ts"]);
      slices[track_of(event)].emplace_back(begin, begin + ns(event["dur"]));
    }
    for (auto& [track, list] : slices) {
      std::sort(list.begin(), list.end(), [](const auto& a, const auto& b) {
        return a.first != b.first ? a.first < b.first : a.second > b.second;
      });
      std::vector<std::int64_t> open;
      for (const auto& [begin, end] : list) {
        while (!open.empty() && open.back() <= begin) open.pop_back();
        if (!open.empty()) {
          EXPECT_LE(end, open.back()) << "track " << track.second << ", seed " << seed;
        }
        open.push_back(end);
      }
    }
  }
}

TEST(Perfetto, ARequestsStagesAreInsideItInOrderAndSumToItsTime) {
  const control::TraceReport report = busy(4);
  const json picture = perfetto(report);
  std::size_t requests = 0;
  const json& events = picture["traceEvents"];
  for (std::size_t i = 0; i < events.size(); ++i) {
    if (events[i]["ph"] != "X" || !events[i]["args"].contains("total_ns")) continue;
    ++requests;
    const json& arguments = events[i]["args"];
    std::uint64_t sum = 0;
    for (const std::string& stage : report.stages) {
      sum += arguments[stage + "_ns"].get<std::uint64_t>();
    }
    EXPECT_EQ(sum, arguments["total_ns"].get<std::uint64_t>());
    // Its stages are the next slices of the same track, each beginning where the last one ended.
    std::int64_t at = ns(events[i]["ts"]);
    std::size_t stages = 0;
    for (std::size_t k = i + 1; k < events.size() && track_of(events[k]) == track_of(events[i]) &&
                                !events[k]["args"].contains("total_ns");
         ++k, ++stages) {
      EXPECT_NEAR(static_cast<double>(ns(events[k]["ts"])), static_cast<double>(at), 2)
          << events[k];
      at = ns(events[k]["ts"]) + ns(events[k]["dur"]);
    }
    EXPECT_EQ(stages, arguments["first_batch"] == 0 ? 3U : 7U);
    EXPECT_NEAR(static_cast<double>(at),
                static_cast<double>(ns(events[i]["ts"]) + ns(events[i]["dur"])), 2);
  }
  EXPECT_EQ(requests, report.requests.size());
}

TEST(Perfetto, ArrowsBeginAndEndInSlices) {
  const json picture = perfetto(busy(5));
  std::map<TrackOf, std::vector<std::pair<std::int64_t, std::int64_t>>> slices;
  for (const json& event : picture["traceEvents"]) {
    if (event["ph"] != "X") continue;
    slices[track_of(event)].emplace_back(ns(event["ts"]), ns(event["ts"]) + ns(event["dur"]));
  }
  for (const json& event : picture["traceEvents"]) {
    const auto phase = event["ph"].get<std::string>();
    if (phase != "s" && phase != "t" && phase != "f") continue;
    const std::int64_t at = ns(event["ts"]);
    bool inside = false;
    for (const auto& [begin, end] : slices[track_of(event)]) inside |= begin <= at && at <= end;
    EXPECT_TRUE(inside) << event;
  }
}

TEST(Perfetto, AnEmptyTraceIsAPictureToo) { EXPECT_TRUE(json::accept(perfetto({}).dump())); }

}  // namespace
}  // namespace nacelle::ctl
