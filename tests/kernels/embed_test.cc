// Embedding with positions of the caller's own. All else is in conformance_test.cc.
#include "kernels/embed.h"

#include <gtest/gtest.h>

#include <cstring>

#include "tests/kernels/support.h"

namespace nacelle::kernels {
namespace {

using test::Fenced;
using test::kNaN;

class EmbedTest : public testing::TestWithParam<std::string> {};

TEST_P(EmbedTest, GivenPositionsAreTakenAndMayBeFewerThanTokens) {
  constexpr std::uint32_t kWidth = 45;
  constexpr std::uint32_t kTokens = 30;
  constexpr std::uint32_t kPositions = 7;
  const auto backend = test::make(GetParam());
  const auto reference = test::make("reference");
  test::Numbers numbers(9);
  const test::Matrix words(numbers, ElementType::kF16, 20, kWidth, 1.0F);
  const test::Matrix positions(numbers, ElementType::kF32, kPositions, kWidth, 1.0F);
  const test::Matrix types(numbers, ElementType::kBF16, 1, kWidth, 1.0F);
  const auto gamma = numbers.array(kWidth, 1.0F);
  const auto offsets = test::offsets_of({21, 9});
  Fenced<std::uint32_t> ids(kTokens);
  Fenced<std::uint32_t> at(kTokens);
  for (std::size_t t = 0; t < kTokens; ++t) {
    ids[t] = numbers.below(20);
    at[t] = t == 0 ? kPositions - 1 : numbers.below(kPositions);
  }
  EmbedNorm op{.ids = ids.data(),
               .types = nullptr,
               .offsets = offsets.data(),
               .position_ids = at.data(),
               .words = words.tensor(),
               .positions = positions.tensor(),
               .types_table = types.tensor(),
               .gamma = gamma.data(),
               .beta = gamma.data(),
               .out = nullptr,
               .sequences = 2,
               .width = kWidth,
               .epsilon = 1e-5F};
  Fenced<float> out(std::size_t{kTokens} * kWidth, kNaN);
  Fenced<float> expected(out.size(), kNaN);
  op.out = out.data();
  backend->embed(op);
  op.out = expected.data();
  reference->embed(op);
  EXPECT_LE(test::relative_error(out.data(), expected.data(), out.size()), 1e-6);

  // Positions that simply count are the ones taken without any.
  const auto first = test::offsets_of({kPositions});
  for (std::uint32_t t = 0; t < kPositions; ++t) at[t] = t;
  op.offsets = first.data();
  op.sequences = 1;
  Fenced<float> given(std::size_t{kPositions} * kWidth, kNaN);
  op.out = given.data();
  backend->embed(op);
  Fenced<float> counted(given.size(), kNaN);
  op.position_ids = nullptr;
  op.out = counted.data();
  backend->embed(op);
  EXPECT_EQ(std::memcmp(given.data(), counted.data(), given.size() * sizeof(float)), 0);
}

INSTANTIATE_TEST_SUITE_P(All, EmbedTest, testing::ValuesIn(test::all_backend_names()),
                         test::test_name);

}  // namespace
}  // namespace nacelle::kernels
