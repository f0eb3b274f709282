// Choosing a backend and a target by name, and saying why not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/cpu/targets.h"
#include "tests/kernels/support.h"

namespace nacelle::kernels {
namespace {

using testing::HasSubstr;

TEST(Backends, TheReferenceIsListedLastAndAlwaysWorks) {
  ASSERT_FALSE(all_backends().empty());
  EXPECT_EQ(all_backends().back().name, "reference");
  const auto backend = create_backend("reference", 3);
  ASSERT_TRUE(backend);
  EXPECT_EQ((*backend)->name(), "reference");
  EXPECT_EQ((*backend)->description(), "reference (plain loops)");
}

TEST(Backends, AForcedTargetIsTheOneThatRuns) {
  for (const BackendEntry& entry : all_backends()) {
    for (const std::string_view target : entry.targets()) {
      const std::string name = std::string(entry.name) + "/" + std::string(target);
      const auto backend = create_backend(name, 1);
      ASSERT_TRUE(backend) << backend.error().message;
      EXPECT_EQ((*backend)->name(), entry.name);
      EXPECT_EQ((*backend)->description(),
                std::string(entry.name) + " (" + std::string(target) + ", 1 thread)");
    }
  }
}

// The description is a name; this is evidence. Each target lays panels out for its own tile, so
// weights of one layout refused by the other show that they really are two.
TEST(Backends, TwoTargetsDoNotShareTheirKernels) {
  const auto targets = cpu::all_targets();
  for (std::size_t a = 0; a < targets.size(); ++a) {
    for (std::size_t b = a + 1; b < targets.size(); ++b) {
      EXPECT_NE(targets[a].target->linear, targets[b].target->linear);
      EXPECT_NE(targets[a].target->attention, targets[b].target->attention);
      EXPECT_NE(targets[a].target->lanes, targets[b].target->lanes);
    }
  }
}

TEST(Backends, AutoTakesTheFirstThatWorksAndItsBestTarget) {
  const auto backend = create_backend("auto", 2);
  ASSERT_TRUE(backend);
  for (const BackendEntry& entry : all_backends()) {
    if (!entry.create({.threads = 2, .target = ""})) continue;
    EXPECT_EQ((*backend)->name(), entry.name);
    if (!entry.targets().empty()) {
      EXPECT_EQ((*backend)->description(),
                std::string(entry.name) + " (" + std::string(entry.targets()[0]) + ", 2 threads)");
    }
    break;
  }
}

TEST(Backends, AnUnknownNameIsNotFoundAndTheErrorListsTheKnown) {
  for (const std::string_view name : {"", "gpu", "cpu2", "CPU", "cpu/", "/avx2", "reference/"}) {
    const auto backend = create_backend(name, 1);
    ASSERT_FALSE(backend) << name;
    EXPECT_EQ(backend.error().code, base::Code::kNotFound);
    EXPECT_THAT(backend.error().message, HasSubstr("\"" + std::string(name) + "\""));
    EXPECT_THAT(backend.error().message, HasSubstr("reference"));
    EXPECT_THAT(backend.error().message, HasSubstr("cpu"));
  }
}

TEST(Backends, AnUnknownTargetIsNotFound) {
  for (const std::string_view name : {"cpu/avx9", "cpu/avx2/x", "cpu/AVX2", "reference/avx2"}) {
    const auto backend = create_backend(name, 1);
    ASSERT_FALSE(backend) << name;
    EXPECT_EQ(backend.error().code, base::Code::kNotFound) << backend.error().message;
  }
}

TEST(Backends, ImpossibleThreadCountsAreRefused) {
  if (all_backends()[0].targets().empty()) GTEST_SKIP() << "this CPU can run no target";
  for (const unsigned threads : {0U, 1025U, 4294967295U}) {
    const auto backend = create_backend("cpu", threads);
    ASSERT_FALSE(backend);
    EXPECT_EQ(backend.error().code, base::Code::kInvalid);
    EXPECT_THAT(backend.error().message, HasSubstr("use 1 to 1024"));
  }
}

// A list as an older machine sees it.
std::string nothing() { return ""; }
std::string two_features() { return "avx512f, avx512vl"; }
const cpu::TargetEntry kOldMachine[] = {
    {.target = cpu::all_targets()[0].target, .missing = two_features},
    {.target = cpu::all_targets()[1].target, .missing = nothing},
};

TEST(Targets, TheBestThatTheCpuCanRunIsTaken) {
  const auto target = cpu::find_target("", kOldMachine);
  ASSERT_TRUE(target);
  EXPECT_EQ(*target, kOldMachine[1].target);
}

TEST(Targets, ATargetThatTheCpuLacksIsUnavailableWithTheReason) {
  const auto target = cpu::find_target(kOldMachine[0].target->name, kOldMachine);
  ASSERT_FALSE(target);
  EXPECT_EQ(target.error().code, base::Code::kUnavailable);
  EXPECT_THAT(target.error().message, HasSubstr("avx512f, avx512vl"));
  EXPECT_THAT(target.error().message,
              HasSubstr("can run " + std::string(kOldMachine[1].target->name)));
}

TEST(Targets, AMachineThatCanRunNoneSaysSo) {
  const cpu::TargetEntry ancient[] = {{kOldMachine[0].target, two_features},
                                      {kOldMachine[1].target, two_features}};
  const auto target = cpu::find_target("", ancient);
  ASSERT_FALSE(target);
  EXPECT_EQ(target.error().code, base::Code::kUnavailable);
  EXPECT_THAT(target.error().message, HasSubstr("can run none"));
}

}  // namespace
}  // namespace nacelle::kernels
