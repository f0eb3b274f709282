// A Result is a value or an error, and says which.
#include "sidecar/base/result.h"

#include <gtest/gtest.h>

#include <memory>

namespace nacelle::base {
namespace {

TEST(Result, HoldsAValueThatCanBeMovedOut) {
  Result<std::unique_ptr<int>> result = std::make_unique<int>(5);
  ASSERT_TRUE(result);
  const std::unique_ptr<int> value = *std::move(result);
  EXPECT_EQ(*value, 5);
}

TEST(Result, HoldsAnErrorThatGathersContext) {
  const Result<int> result = Error{Code::kNotFound, "no such file"};
  ASSERT_FALSE(result);
  const Error outer = result.error().in("loading service a");
  EXPECT_EQ(outer.code, Code::kNotFound);
  EXPECT_EQ(outer.message, "loading service a: no such file");
}

TEST(ResultDeathTest, TakingTheValueOfAnErrorIsABug) {
  const Result<int> result = Error{Code::kInvalid, "no"};
  EXPECT_DEATH(static_cast<void>(result.value()), "CHECK failed");
}

TEST(Result, EveryCodeHasAName) {
  for (int code = 0; code <= static_cast<int>(Code::kInternal); ++code) {
    EXPECT_NE(code_name(static_cast<Code>(code)), "unknown") << code;
  }
  EXPECT_EQ(code_name(static_cast<Code>(999)), "unknown");
}

}  // namespace
}  // namespace nacelle::base
