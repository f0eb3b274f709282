// Log lines stay one line each, whatever their fields hold.
#include "sidecar/base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace nacelle::base {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;

TEST(Log, ALineHasItsFieldsInOrder) {
  ::testing::internal::CaptureStderr();
  log_info("client connected", {{"id", 7}, {"name", "app"}});
  const std::string line = ::testing::internal::GetCapturedStderr();
  EXPECT_THAT(line, EndsWith(" info \"client connected\" id=7 name=app\n"));
}

TEST(Log, AClientsNameCannotForgeALine) {
  ::testing::internal::CaptureStderr();
  log_warn("refused", {{"name", "x\n2026 error forged=\"1\""}});
  const std::string line = ::testing::internal::GetCapturedStderr();
  EXPECT_THAT(line, HasSubstr(R"(name="x\x0a2026 error forged=\"1\"")"));
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1);
}

TEST(Log, LinesBelowTheLevelAreDropped) {
  set_log_level(LogLevel::kError);
  ::testing::internal::CaptureStderr();
  log_warn("quiet");
  log_error("loud");
  const std::string text = ::testing::internal::GetCapturedStderr();
  set_log_level(LogLevel::kInfo);
  EXPECT_EQ(text.find("quiet"), std::string::npos);
  EXPECT_THAT(text, HasSubstr("loud"));
}

}  // namespace
}  // namespace nacelle::base
