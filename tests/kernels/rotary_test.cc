// Rotary positions: against the reference, which is held to a turn by hand; alone and among others.
#include "kernels/rotary.h"

#include <gtest/gtest.h>

#include <cstring>

#include "tests/kernels/support.h"

namespace nacelle::kernels {
namespace {

using test::Fenced;

constexpr double kBound = 1e-6;

struct Data {
  Data(const std::vector<std::uint32_t>& lengths, std::uint32_t heads, std::uint32_t head_width)
      : numbers(17),
        offsets(test::offsets_of(lengths)),
        qkv(numbers.array(std::size_t{offsets.data()[lengths.size()]} * 3 * heads * head_width,
                          1.0F)),
        cosines(numbers.array(std::size_t{kPositions} * head_width / 2, 1.0F)),
        sines(numbers.array(std::size_t{kPositions} * head_width / 2, 1.0F)),
        op{.qkv = nullptr,
           .offsets = offsets.data(),
           .cosines = cosines.data(),
           .sines = sines.data(),
           .sequences = static_cast<std::uint32_t>(lengths.size()),
           .heads = heads,
           .head_width = head_width,
           .positions = kPositions} {}

  // What the op makes of qkv.
  [[nodiscard]] Fenced<float> run(Backend& backend) const {
    Fenced<float> out(qkv.size());
    std::copy_n(qkv.data(), qkv.size(), out.data());
    Rotary own = op;
    own.qkv = out.data();
    backend.rotary(own);
    return out;
  }

  static constexpr std::uint32_t kPositions = 70;
  test::Numbers numbers;
  Fenced<std::uint32_t> offsets;
  Fenced<float> qkv;
  Fenced<float> cosines;
  Fenced<float> sines;
  Rotary op;
};

class RotaryTest : public testing::TestWithParam<std::string> {};

TEST_P(RotaryTest, AgreesWithTheReferenceForEveryHeadWidth) {
  const auto backend = test::make(GetParam());
  const auto reference = test::make("reference");
  for (const std::uint32_t head_width : {2U, 4U, 8U, 14U, 16U, 30U, 32U, 34U, 64U, 128U}) {
    for (const std::vector<std::uint32_t>& lengths :
         {std::vector<std::uint32_t>{1}, {70, 1, 0, 33}, {}}) {
      const Data data(lengths, 3, head_width);
      const auto out = data.run(*backend);
      const auto expected = data.run(*reference);
      EXPECT_LE(test::relative_error(out.data(), expected.data(), out.size()), kBound)
          << head_width;
      EXPECT_TRUE(out.intact());
    }
  }
}

TEST_P(RotaryTest, ASequenceDoesNotSeeItsNeighbours) {
  const std::vector<std::uint32_t> lengths = {3, 1, 64, 7, 70};
  const Data data(lengths, 2, 20);
  for (const unsigned threads : {1U, 3U}) {
    const auto backend = test::make(GetParam(), threads);
    const auto together = data.run(*backend);
    for (std::size_t s = 0; s < lengths.size(); ++s) {
      const std::size_t begin = std::size_t{data.offsets.data()[s]} * 3 * 40;
      const std::size_t count = std::size_t{lengths[s]} * 3 * 40;
      Fenced<float> own(count);
      std::copy_n(data.qkv.data() + begin, count, own.data());
      const auto offsets = test::offsets_of({lengths[s]});
      Rotary op = data.op;
      op.qkv = own.data();
      op.offsets = offsets.data();
      op.sequences = 1;
      backend->rotary(op);
      EXPECT_EQ(std::memcmp(own.data(), together.data() + begin, count * sizeof(float)), 0) << s;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, RotaryTest, testing::ValuesIn(test::fast_backends()),
                         test::test_name);

TEST(RotaryReference, TurnsThePairsOfQueriesAndKeysAndLeavesValues) {
  const auto backend = test::make("reference");
  float qkv[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,   // position 0: angle 0
                 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};  // position 1: a quarter, a half turn
  const float cosines[] = {1, 1, 0, -1};
  const float sines[] = {0, 0, 1, 0};
  const std::uint32_t offsets[] = {0, 2};
  backend->rotary({.qkv = qkv,
                   .offsets = offsets,
                   .cosines = cosines,
                   .sines = sines,
                   .sequences = 1,
                   .heads = 1,
                   .head_width = 4,
                   .positions = 2});
  const float expected[] = {1,  2,  3, 4,  5,  6,  7, 8,  9, 10, 11, 12,
                            -3, -2, 1, -4, -7, -6, 5, -8, 9, 10, 11, 12};
  for (std::size_t i = 0; i < std::size(expected); ++i) EXPECT_EQ(qkv[i], expected[i]) << i;
}

TEST(RotaryDeathTest, OddHeadsAndTooLongSequences) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto backend = test::make("cpu", 1);
  float floats[64] = {};
  const std::uint32_t offsets[] = {0, 3};
  Rotary op{.qkv = floats,
            .offsets = offsets,
            .cosines = floats,
            .sines = floats,
            .sequences = 1,
            .heads = 1,
            .head_width = 4,
            .positions = 2};
  EXPECT_DEATH(backend->rotary(op), "positions");
  op.positions = 3;
  op.head_width = 3;
  EXPECT_DEATH(backend->rotary(op), "head_width");
}

}  // namespace
}  // namespace nacelle::kernels
