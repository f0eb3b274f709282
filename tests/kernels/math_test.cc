// The elementary functions, measured against double precision: the errors that loops/math.h states.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "kernels/cpu/targets.h"
#include "tests/kernels/support.h"

namespace nacelle::kernels::cpu {
namespace {

using test::Fenced;

class Math : public testing::TestWithParam<std::string> {
 protected:
  const Ops& ops_ = *(*find_target(GetParam()))->ops;

  // The largest error in ulps of the exact result over every `step`-th float of [low, high], both
  // of one sign.
  static double worst(void (*function)(const float*, float*, std::size_t), double (*exact)(double),
                      float low, float high, std::uint32_t step) {
    constexpr std::size_t kBlock = 4096;
    std::vector<float> in;
    std::vector<float> out(kBlock);
    double largest = 0;
    const auto measure = [&] {
      function(in.data(), out.data(), in.size());
      for (std::size_t i = 0; i < in.size(); ++i) {
        const double expected = exact(double{in[i]});
        const float rounded = std::fabs(static_cast<float>(expected));
        const double ulp = double{std::nextafter(rounded, INFINITY)} - double{rounded};
        largest = std::max(largest, std::fabs(double{out[i]} - expected) / ulp);
      }
      in.clear();
    };
    const auto first = std::bit_cast<std::uint32_t>(std::fabs(low) < std::fabs(high) ? low : high);
    const auto last = std::bit_cast<std::uint32_t>(std::fabs(low) < std::fabs(high) ? high : low);
    for (std::uint64_t bits = first; bits <= last; bits += step) {
      in.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
      if (in.size() == kBlock) measure();
    }
    measure();
    return largest;
  }
};

TEST_P(Math, ExpIsWithinTwoUlps) {
  EXPECT_LE(worst(ops_.exp_nonpositive, std::exp, -87.3365F, -0.0F, 509), 2.0);
}

TEST_P(Math, ErfIsWithinFiveUlps) {
  EXPECT_LE(worst(ops_.erf, std::erf, 1e-30F, 10.0F, 509), 5.0);
  EXPECT_LE(worst(ops_.erf, std::erf, -10.0F, -1e-30F, 509), 5.0);
}

TEST_P(Math, TanhIsWithinFourUlps) {
  EXPECT_LE(worst(ops_.tanh, std::tanh, 1e-30F, 20.0F, 509), 4.0);
  EXPECT_LE(worst(ops_.tanh, std::tanh, -20.0F, -1e-30F, 509), 4.0);
}

TEST_P(Math, RoughPowersOfTwoAreWithinTheirBound) {
  std::vector<float> in;
  for (float x = -125.9F; x < 0; x += 0.0137F) in.push_back(x);
  std::vector<float> out(in.size());
  ops_.exp2_rough(in.data(), out.data(), in.size());
  for (std::size_t i = 0; i < in.size(); ++i) {
    EXPECT_NEAR(out[i] / std::exp2(double{in[i]}), 1.0, 3e-6) << in[i];
  }
  const float ends[] = {0.0F, -126.5F, -1e30F, -INFINITY, test::kNaN};
  float at_ends[5];
  ops_.exp2_rough(ends, at_ends, 5);
  EXPECT_NEAR(at_ends[0], 1.0F, 3e-6);
  EXPECT_EQ(at_ends[1], 0.0F);
  EXPECT_EQ(at_ends[2], 0.0F);
  EXPECT_EQ(at_ends[3], 0.0F);
  EXPECT_TRUE(std::isnan(at_ends[4]));
}

TEST_P(Math, LimitsAndNanAreWhatTheyShouldBe) {
  const float in[] = {0.0F, -0.0F, -INFINITY, -1000.0F, -88.0F, test::kNaN};
  float out[6];
  ops_.exp_nonpositive(in, out, 6);
  EXPECT_EQ(out[0], 1.0F);
  EXPECT_EQ(out[1], 1.0F);
  EXPECT_EQ(out[2], 0.0F);
  EXPECT_EQ(out[3], 0.0F);
  EXPECT_EQ(out[4], 0.0F);
  EXPECT_TRUE(std::isnan(out[5]));
  for (const auto function : {ops_.erf, ops_.tanh}) {
    const float odd[] = {0.0F, INFINITY, -INFINITY, 100.0F, -100.0F, test::kNaN};
    function(odd, out, 6);
    EXPECT_EQ(out[0], 0.0F);
    EXPECT_EQ(out[1], 1.0F);
    EXPECT_EQ(out[2], -1.0F);
    EXPECT_EQ(out[3], 1.0F);
    EXPECT_EQ(out[4], -1.0F);
    EXPECT_TRUE(std::isnan(out[5]));
  }
}

std::vector<std::string> usable() {
  const auto names = usable_targets();
  return {names.begin(), names.end()};
}

INSTANTIATE_TEST_SUITE_P(All, Math, testing::ValuesIn(usable()), test::test_name);

}  // namespace
}  // namespace nacelle::kernels::cpu
