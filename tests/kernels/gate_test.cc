// The gated activation: against the reference for every activation and width, alone and among
// others.
#include "kernels/gate.h"

#include <gtest/gtest.h>

#include <cstring>

#include "tests/kernels/support.h"

namespace nacelle::kernels {
namespace {

using test::Fenced;
using test::kNaN;

constexpr double kBound = 2e-6;  // as of a linear layer with the same activation

class GateTest : public testing::TestWithParam<std::string> {
 protected:
  test::Numbers numbers_{23};
};

TEST_P(GateTest, AgreesWithTheReferenceForEveryActivationAndWidth) {
  const auto backend = test::make(GetParam());
  const auto reference = test::make("reference");
  for (const Activation activation : test::kActivations) {
    for (const std::uint32_t width : {1U, 3U, 7U, 8U, 9U, 15U, 16U, 17U, 33U, 100U, 1152U}) {
      for (const float magnitude : {1e-4F, 1.0F, 60.0F}) {
        constexpr std::uint32_t kRows = 5;
        const auto in = numbers_.array(std::size_t{kRows} * 2 * width, magnitude);
        Fenced<float> out(std::size_t{kRows} * width, kNaN);
        Fenced<float> expected(std::size_t{kRows} * width, kNaN);
        Gate op{.in = in.data(),
                .out = out.data(),
                .rows = kRows,
                .width = width,
                .activation = activation};
        backend->gate(op);
        op.out = expected.data();
        reference->gate(op);
        EXPECT_LE(test::relative_error(out.data(), expected.data(), out.size()), kBound)
            << "activation " << static_cast<int>(activation) << ", width " << width
            << ", magnitude " << magnitude;
        EXPECT_TRUE(out.intact());
        op.rows = 0;
        op.out = nullptr;
        backend->gate(op);
      }
    }
  }
}

TEST_P(GateTest, ARowDoesNotSeeItsNeighbours) {
  constexpr std::uint32_t kRows = 300;
  constexpr std::uint32_t kWidth = 100;
  const auto in = numbers_.array(std::size_t{kRows} * 2 * kWidth, 1.0F);
  for (const unsigned threads : {1U, 2U, 5U}) {
    const auto backend = test::make(GetParam(), threads);
    Fenced<float> together(std::size_t{kRows} * kWidth, kNaN);
    Gate op{.in = in.data(),
            .out = together.data(),
            .rows = kRows,
            .width = kWidth,
            .activation = Activation::kGelu};
    backend->gate(op);
    for (std::size_t row = 0; row < kRows; ++row) {
      Fenced<float> own(kWidth, kNaN);
      op.in = in.data() + row * 2 * kWidth;
      op.out = own.data();
      op.rows = 1;
      backend->gate(op);
      ASSERT_EQ(std::memcmp(own.data(), together.data() + row * kWidth, sizeof(float) * kWidth), 0);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, GateTest, testing::ValuesIn(test::fast_backends()), test::test_name);

TEST(GateReference, ActivatesTheFirstHalf) {
  const auto backend = test::make("reference");
  const float in[] = {-1, 2, 10, 20};
  float out[2];
  backend->gate({.in = in, .out = out, .rows = 1, .width = 2, .activation = Activation::kRelu});
  EXPECT_EQ(out[0], 0.0F);
  EXPECT_EQ(out[1], 40.0F);
}

TEST(GateDeathTest, OutputOverItsInput) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto backend = test::make("cpu", 1);
  float floats[16] = {};
  EXPECT_DEATH(backend->gate({.in = floats,
                              .out = floats + 3,
                              .rows = 1,
                              .width = 4,
                              .activation = Activation::kNone}),
               "overlap");
}

}  // namespace
}  // namespace nacelle::kernels
