// Lines to structures and back, whatever the line holds.
#include "sidecar/control/wire.h"

#include <gtest/gtest.h>

namespace nacelle::control {
namespace {

TEST(Wire, EveryCodeKeepsItsMeaning) {
  for (int number = 1; number <= static_cast<int>(base::Code::kInternal); ++number) {
    const base::Error error{static_cast<base::Code>(number), "why"};
    const std::string line = answer_line(error);
    const auto answer = parse_answer(std::string_view(line).substr(0, line.size() - 1));
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, error.code) << line;
    EXPECT_EQ(answer.error().message, "why");
  }
}

TEST(Wire, AnAnswerThatCannotBeUnderstoodIsAnotherVersion) {
  for (const std::string line : {"", "x", "[]", "{}", "7", "{\"resul\": 1}", "\xff"}) {
    const auto answer = parse_answer(line);
    ASSERT_FALSE(answer) << line;
    EXPECT_EQ(answer.error().code, base::Code::kVersionMismatch) << line;
  }
  for (const std::string line : {R"({"error": 1})", R"({"error": {}})", R"({"error": {"code": 7}})",
                                 R"({"error": {"code": "from_the_future"}})"}) {
    const auto answer = parse_answer(line);
    ASSERT_FALSE(answer) << line;
    EXPECT_EQ(answer.error().code, base::Code::kInternal) << line;
  }
}

TEST(Wire, BytesThatAreNotUtf8AreReplacedNotThrown) {
  const std::string line = answer_line(Json("a\xff"));
  EXPECT_EQ(line, "{\"result\":\"a\xEF\xBF\xBD\"}\n");
}

}  // namespace
}  // namespace nacelle::control
