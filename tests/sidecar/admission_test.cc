// The gate on samples that a test makes up, at times that it makes up.
#include "sidecar/admission.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace nacelle::sidecar {
namespace {

using base::kMillisecond;
using base::kSecond;
using ::testing::AllOf;
using ::testing::HasSubstr;

class Admission : public ::testing::Test {
 protected:
  // A period later than the sample before.
  bool see(double memory, double cpu) {
    now_ += 3 * kSecond;
    return gate_.observe({.memory = memory, .cpu = cpu}, now_);
  }
  [[nodiscard]] bool takes(Priority priority) const { return !gate_.refuses(priority, now_); }

  AdmissionGate gate_{Config::Admission{}};
  base::Nanos now_ = 100 * kSecond;
};

TEST_F(Admission, WithoutASampleEverythingIsTaken) {
  EXPECT_TRUE(takes(Priority::kIdle));
  EXPECT_FALSE(see(0.5, 0.5));
  EXPECT_TRUE(takes(Priority::kIdle));
}

TEST_F(Admission, OneSampleAboveALimitRefusesTheLowClassesAndNoOthers) {
  for (const auto& [memory, cpu] : {std::pair{0.91, 0.1}, std::pair{0.1, 0.91}}) {
    EXPECT_FALSE(see(0.9, 0.9)) << "at a limit is not above it";
    EXPECT_TRUE(see(memory, cpu));
    EXPECT_TRUE(takes(Priority::kHigh));
    EXPECT_TRUE(takes(Priority::kNormal));
    EXPECT_FALSE(takes(Priority::kLow));
    EXPECT_FALSE(takes(Priority::kIdle));
    EXPECT_TRUE(see(0.1, 0.1));
  }
}

TEST_F(Admission, BothHaveToFallBelowTheirLimitsByTheMargin) {
  EXPECT_TRUE(see(0.95, 0.2));
  EXPECT_FALSE(see(0.89, 0.2));
  EXPECT_FALSE(see(0.85, 0.95));
  EXPECT_FALSE(takes(Priority::kLow));
  EXPECT_FALSE(see(0.80, 0.86)) << "the CPU is still short";
  EXPECT_TRUE(see(0.84, 0.84));
  EXPECT_TRUE(takes(Priority::kLow));
  EXPECT_FALSE(see(0.89, 0.89)) << "below the limits nothing closes";
  EXPECT_TRUE(takes(Priority::kLow));
}

TEST_F(Admission, ItSaysWhatIsShortAndWhenToComeBack) {
  see(0.93, 0.12);
  const auto memory = gate_.refuses(Priority::kLow, now_);
  ASSERT_TRUE(memory);
  EXPECT_EQ(memory->code, base::Code::kBusy);
  EXPECT_THAT(memory->message, AllOf(HasSubstr("memory is short"), HasSubstr("priority is low"),
                                     HasSubstr("memory 93 % (admission.memory_percent_max 90)")));
  see(0.1, 0.99);
  EXPECT_THAT(gate_.refuses(Priority::kIdle, now_)->message,
              AllOf(HasSubstr("the CPU is busy with other processes"), HasSubstr("is idle"),
                    HasSubstr("CPU 99 % (admission.cpu_percent_max 90)")));
  EXPECT_EQ(gate_.retry_after_us(now_), 3'001'000U);
  EXPECT_EQ(gate_.retry_after_us(now_ + kSecond), 2'001'000U);
  EXPECT_EQ(gate_.retry_after_us(now_ + 5 * kSecond), 1'000U);
}

TEST_F(Admission, OldSamplesRefuseNothing) {
  see(1, 1);
  EXPECT_TRUE(gate_.refuses(Priority::kLow, now_ + 9 * kSecond));
  EXPECT_FALSE(gate_.refuses(Priority::kLow, now_ + 9 * kSecond + 1));
}

TEST_F(Admission, AHundredPercentNeverRefuses) {
  AdmissionGate gate({.memory_percent_max = 100, .cpu_percent_max = 100});
  EXPECT_FALSE(gate.observe({.memory = 1, .cpu = 1}, now_));
  EXPECT_FALSE(gate.refuses(Priority::kIdle, now_));
}

// Against the rule written down once more, over a random walk.
TEST_F(Admission, ItFollowsItsRuleWhateverIsSeen) {
  constexpr unsigned kSeed = 7;
  std::mt19937 random(kSeed);
  std::uniform_real_distribution<double> step(-0.08, 0.08);
  double memory = 0.8;
  double cpu = 0.8;
  bool memory_short = false;
  bool cpu_short = false;
  int changes = 0;
  for (int i = 0; i < 10'000; ++i) {
    memory = std::clamp(memory + step(random), 0.5, 1.0);
    cpu = std::clamp(cpu + step(random), 0.5, 1.0);
    memory_short = memory > 0.9 || (memory_short && memory >= 0.85);
    cpu_short = cpu > 0.9 || (cpu_short && cpu >= 0.85);
    changes += see(memory, cpu) ? 1 : 0;
    ASSERT_EQ(takes(Priority::kLow), !memory_short && !cpu_short) << "seed " << kSeed << " " << i;
    ASSERT_TRUE(takes(Priority::kNormal));
  }
  EXPECT_GT(changes, 100);
}

}  // namespace
}  // namespace nacelle::sidecar
