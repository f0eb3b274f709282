// The reports of api.h on their way through JSON.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "sidecar/control/api.h"

namespace nacelle::control {
namespace {

using ::testing::HasSubstr;

StatusReport full_report() {
  StatusReport report;
  report.version = "0.1.0";
  report.pid = 4711;
  report.uptime_s = 60;
  report.state = "serving";
  report.backend = "cpu (avx2, 2 threads)";
  report.threads = 2;
  report.socket = "/run/nacelle/nacelle.sock";
  report.rss_bytes = UINT64_MAX;
  report.queued_requests = 7;
  report.queued_tokens = 8;
  report.totals = {.requests = 1,
                   .texts = 2,
                   .tokens = 3,
                   .batches = 4,
                   .batches_mixed = 5,
                   .batch_texts_max = 6,
                   .busy = 7,
                   .invalid = 8,
                   .expired = 9,
                   .cancelled = 10,
                   .rescued_by_timeout = 11};
  report.violations = {{"generation", 12}, {"socket", 1}};
  report.refused_connections = {{"denied", 13}};
  ModelReport model;
  model.name = "sentiment";
  model.tasks = {"embed", "classify"};
  model.labels = {"부정", "긍정"};
  model.embed_width = 384;
  report.models = {model, ModelReport{}};
  ClientReport client;
  client.id = 12;
  client.name = "worker \"1\"\n";
  client.pid = UINT32_MAX;
  report.clients = {client};
  return report;
}

TEST(Reports, SurviveTheWayThroughJson) {
  const Json json = to_json(full_report());
  const auto again = status_from_json(Json::parse(json.dump()));
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(to_json(*again), json);
  EXPECT_EQ(again->rss_bytes, UINT64_MAX);
  EXPECT_EQ(again->queued_requests, 7U);
  EXPECT_EQ(again->queued_tokens, 8U);
  EXPECT_EQ(again->models.at(0).labels.at(1), "긍정");
  EXPECT_EQ(again->violations.at(0).name, "generation");
  EXPECT_EQ(again->violations.at(0).count, 12U);
  EXPECT_EQ(again->refused_connections.at(0).count, 13U);
  EXPECT_EQ(again->clients.at(0).name, "worker \"1\"\n");
}

TEST(Reports, NamesFromALaterVersionAreIgnored) {
  Json json = to_json(full_report());
  json["cache"] = {{"hits", 1}};
  json["models"][0]["adapter"] = "x";
  EXPECT_TRUE(status_from_json(json));
}

// Each row damages one field of a good report; the error names that field.
TEST(Reports, AFieldThatIsMissingOrOfAnotherTypeIsNamed) {
  const std::tuple<const char*, Json, std::string> wrong[] = {
      {"/pid", nullptr, "pid"},
      {"/pid", "4711", "pid"},
      {"/pid", -1, "pid"},
      {"/pid", 1.5, "pid"},
      {"/pid", 1ULL << 32, "pid"},
      {"/state", 3, "state"},
      {"/totals", Json::array(), "totals"},
      {"/totals/busy", true, "totals.busy"},
      {"/models", Json::object(), "models"},
      {"/models/1", 7, "models"},
      {"/models/0/labels", "부정", "models.labels"},
      {"/models/0/labels/0", 1, "models.labels"},
      {"/clients/0/name", nullptr, "clients.name"},
  };
  for (const auto& [pointer, value, name] : wrong) {
    Json json = to_json(full_report());
    json[Json::json_pointer(pointer)] = value;
    const auto report = status_from_json(json);
    ASSERT_FALSE(report) << pointer;
    EXPECT_EQ(report.error().code, base::Code::kVersionMismatch);
    EXPECT_THAT(report.error().message, HasSubstr("\"" + name + "\"")) << pointer << " = " << value;
  }
  for (const Json& json : {Json(), Json(1), Json("x"), Json::array(), Json::object()}) {
    EXPECT_FALSE(status_from_json(json)) << json;
    EXPECT_FALSE(models_from_json(json)) << json;
    EXPECT_FALSE(options_from_json(json)) << json;
  }
}

TEST(Reports, AnOptionCarriesAllItsTexts) {
  const sidecar::Option option{.name = "transport.slots",
                               .flag = "--transport.slots",
                               .environment = "NACELLE_TRANSPORT_SLOTS",
                               .type = "whole number",
                               .unit = "requests",
                               .bounds = "1 to 256 requests",
                               .default_value = "64",
                               .value = "128",
                               .source = "/etc/n.yaml:3:10",
                               .help = "Requests."};
  const auto again = options_from_json({{"options", {to_json(option)}}});
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(to_json(again->at(0)), to_json(option));
  EXPECT_EQ(to_json(option).size(), 10U);
}

}  // namespace
}  // namespace nacelle::control
