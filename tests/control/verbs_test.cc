// What each verb answers, and what an unknown one is told.
#include "sidecar/control/verbs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "sidecar/control/wire.h"

namespace nacelle::control {
namespace {

using ::testing::HasSubstr;

StatusReport small_report() {
  StatusReport report;
  report.state = "draining";
  ModelReport model;
  model.name = "minilm";
  report.models = {model, model};
  return report;
}

std::vector<Verb> verbs() {
  sidecar::Option slots;
  slots.name = "transport.slots";
  sidecar::Option socket;
  socket.name = "socket";
  return all_verbs({.status = small_report, .options = {slots, socket}});
}

base::Result<Json> ask(const std::string& line) {
  const std::string answer = answer_to(line, verbs());
  EXPECT_EQ(answer.back(), '\n');
  EXPECT_EQ(answer.find('\n'), answer.size() - 1) << "one line";
  return parse_answer(answer.substr(0, answer.size() - 1));
}

TEST(Verbs, ModelsIsThePartOfStatusThatItSays) {
  const auto answer = ask(R"({"verb": "models"})");
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ((*answer)["models"], to_json(small_report())["models"]);
}

TEST(Verbs, ConfigGivesAllOptionsOrTheOneAskedFor) {
  const auto all = ask(R"({"verb": "config"})");
  ASSERT_TRUE(all) << all.error().message;
  EXPECT_EQ((*all)["options"].size(), 2U);
  const auto one = ask(R"({"verb": "config", "arguments": {"option": "socket"}})");
  ASSERT_TRUE(one) << one.error().message;
  ASSERT_EQ((*one)["options"].size(), 1U);
  EXPECT_EQ((*one)["options"][0]["name"], "socket");
}

TEST(Verbs, AnUnknownOptionGetsTheClosestName) {
  const auto answer = ask(R"({"verb": "config", "arguments": {"option": "slots"}})");
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, base::Code::kNotFound);
  EXPECT_THAT(answer.error().message, HasSubstr("did you mean \"transport.slots\"?"));
}

}  // namespace
}  // namespace nacelle::control
