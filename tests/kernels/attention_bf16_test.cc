// Attention on bf16 rows, on every target: against the reference, alone and among others. On floats
// it is in conformance_test.cc, invariance_test.cc and attention_test.cc.
#include <gtest/gtest.h>

#include <array>

#include "kernels/element.h"
#include "tests/kernels/support.h"

namespace nacelle::kernels {
namespace {

using test::Fenced;
using test::kNaN;
using test::Numbers;

// The largest ||out - reference|| / ||reference|| that passes: weights may be rounded to bf16, by
// 2^-9 of each; an output in bf16 by as much again.
constexpr double kBound = 2e-3;
constexpr double kBf16OutBound = 4e-3;

constexpr std::array<std::uint32_t, 22> kSizes = {1,  2,  3,  4,  5,  7,  8,  9,  15, 16,  17,
                                                  31, 32, 33, 47, 49, 63, 64, 65, 96, 127, 129};

class AttentionBf16 : public testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<Backend> backend_ = test::make(GetParam());
  std::unique_ptr<Backend> reference_ = test::make("reference");
  Numbers numbers_{20261122};
  struct Variant {
    bool biased = false;
    std::uint32_t window = Attention::kNoWindow;
  };
  Variant variant_;

  // [tokens, 3 * width] of bf16; v is 60 times as large as q and k.
  Fenced<std::uint16_t> rows(std::size_t tokens, std::size_t width, float magnitude) {
    Fenced<std::uint16_t> qkv(tokens * 3 * width);
    for (std::size_t i = 0; i < qkv.size(); ++i) {
      const bool is_value = i % (3 * width) >= 2 * width;
      qkv[i] = bf16_from_float(numbers_.next(is_value ? 60 * magnitude : magnitude));
    }
    return qkv;
  }

  static std::vector<float> run(Backend& backend, Attention op, bool bf16_out) {
    const std::size_t count =
        std::size_t{op.offsets[op.sequences]} * op.heads * std::size_t{op.head_width};
    Fenced<float> floats(bf16_out ? 0 : count, kNaN);
    Fenced<std::uint16_t> halves(bf16_out ? count : 0, 0x7FFF);
    op.out = bf16_out ? RowsOut::bf16(halves.data()) : floats.data();
    backend.attention(op);
    EXPECT_TRUE(floats.intact() && halves.intact());
    std::vector<float> out(count);
    for (std::size_t i = 0; i < count; ++i) {
      out[i] = bf16_out ? float_from_bf16(halves[i]) : floats[i];
    }
    return out;
  }

  void attention(const std::vector<std::uint32_t>& lengths, std::uint32_t heads,
                 std::uint32_t head_width, float magnitude = 1.0F) {
    SCOPED_TRACE(testing::Message()
                 << "lengths=" << testing::PrintToString(lengths) << " heads=" << heads
                 << " head_width=" << head_width << " magnitude=" << magnitude
                 << " bias=" << variant_.biased << " window=" << variant_.window);
    const auto offsets = test::offsets_of(lengths);
    const auto qkv =
        rows(offsets.data()[lengths.size()], std::size_t{heads} * head_width, magnitude);
    constexpr std::uint32_t kReach = 700;
    const auto bias = numbers_.array(heads * (2 * kReach + 1), 1.0F);
    const Attention op{.qkv = RowsIn::bf16(qkv.data()),
                       .offsets = offsets.data(),
                       .out = {},
                       .sequences = static_cast<std::uint32_t>(lengths.size()),
                       .heads = heads,
                       .head_width = head_width,
                       .bias = variant_.biased ? bias.data() : nullptr,
                       .bias_reach = kReach,
                       .window = variant_.window};
    const auto expected = run(*reference_, op, false);
    for (const bool bf16_out : {false, true}) {
      const auto out = run(*backend_, op, bf16_out);
      EXPECT_LE(test::relative_error(out.data(), expected.data(), out.size()),
                bf16_out ? kBf16OutBound : kBound);
    }
  }
};

TEST_P(AttentionBf16, OfEveryLengthAroundTheTile) {
  for (const std::uint32_t length : kSizes) attention({length}, 2, 32);
  for (const std::uint32_t length : {191U, 192U, 193U, 383U, 385U, 600U}) {
    attention({3, length, 2}, 1, 24);
  }
  attention({0, 3, 0, 4, 0}, 2, 16);
}

TEST_P(AttentionBf16, OfEveryHeadWidth) {
  for (const std::uint32_t width : kSizes) attention({19, 1, 5}, 3, width);
  for (const std::uint32_t width : {64U, 80U, 96U, 128U, 256U, 300U})
    attention({37, 200}, 1, width);
}

TEST_P(AttentionBf16, OfSmallAndLargeScores) {
  for (const float magnitude : {1e-4F, 0.1F, 2.0F}) attention({40, 7}, 2, 16, magnitude);
}

TEST_P(AttentionBf16, ASequenceDoesNotSeeItsNeighbours) {
  const std::vector<std::uint32_t> lengths = {1, 250, 7, 8, 9, 64, 33, 400};
  const auto offsets = test::offsets_of(lengths);
  constexpr std::uint32_t kHeads = 3;
  for (const std::uint32_t head_width : {20U, 21U}) {
    const std::size_t width = std::size_t{kHeads} * head_width;
    const auto qkv = rows(offsets.data()[lengths.size()], width, 1.0F);
    Attention op{.qkv = RowsIn::bf16(qkv.data()),
                 .offsets = offsets.data(),
                 .out = {},
                 .sequences = static_cast<std::uint32_t>(lengths.size()),
                 .heads = kHeads,
                 .head_width = head_width};
    for (const unsigned threads : {1U, 2U, 5U}) {
      const auto together = run(*test::make(GetParam(), threads), op, false);
      for (std::size_t s = 0; s < lengths.size(); ++s) {
        const auto own = test::offsets_of({lengths[s]});
        Attention one = op;
        one.qkv = RowsIn::bf16(qkv.data() + offsets.data()[s] * 3 * width);
        one.offsets = own.data();
        one.sequences = 1;
        const auto alone = run(*backend_, one, false);
        EXPECT_EQ(std::memcmp(alone.data(), together.data() + offsets.data()[s] * width,
                              alone.size() * sizeof(float)),
                  0)
            << "sequence " << s << ", " << threads << " threads";
      }
    }
  }
}

TEST_P(AttentionBf16, KeepsNanInItsSequence) {
  constexpr std::uint32_t kWidth = 16;
  using Bits = std::uint16_t;
  for (const Bits poison : {Bits{0x7FC0}, Bits{0x7F80}, Bits{0xFF80}}) {  // NaN and the infinities
    auto qkv = rows(30, kWidth, 1.0F);
    qkv[(10 * 3 + 1) * kWidth + 2] = poison;  // a key of the second sequence
    const auto offsets = test::offsets_of({10, 12, 8});
    const Attention op{.qkv = RowsIn::bf16(qkv.data()),
                       .offsets = offsets.data(),
                       .out = {},
                       .sequences = 3,
                       .heads = 1,
                       .head_width = kWidth};
    const auto expected = run(*reference_, op, false);
    const auto out = run(*backend_, op, false);
    for (std::size_t i = 0; i < out.size(); ++i) {
      EXPECT_EQ(std::isnan(out[i]), std::isnan(expected[i])) << i << " with " << poison;
      if (std::isfinite(expected[i])) {
        EXPECT_NEAR(out[i], expected[i], 2.0) << i;  // values reach 480: 2^-8 of them
      }
    }
  }
}

// All keys of the first block score -inf; those after it are ordinary.
TEST_P(AttentionBf16, SurvivesABlockWithoutWeight) {
  constexpr std::uint32_t kLength = 400;
  auto qkv = rows(kLength, 2, 1.0F);
  for (std::size_t t = 0; t < kLength; ++t) {
    qkv[6 * t] = qkv[6 * t + 1] = 0x3F80;  // 1
    if (t < 250) qkv[6 * t + 2] = 0xFF80;  // -inf
  }
  const auto offsets = test::offsets_of({kLength});
  const Attention op{.qkv = RowsIn::bf16(qkv.data()),
                     .offsets = offsets.data(),
                     .out = {},
                     .sequences = 1,
                     .heads = 1,
                     .head_width = 2};
  const auto expected = run(*reference_, op, false);
  const auto out = run(*backend_, op, false);
  EXPECT_LE(test::relative_error(out.data(), expected.data(), out.size()), kBound);
}

TEST_P(AttentionBf16, WithABiasAndAWindow) {
  for (const std::uint32_t window : {0U, 1U, 5U, 64U, 200U, Attention::kNoWindow}) {
    for (const bool biased : {false, true}) {
      variant_ = {.biased = biased, .window = window};
      attention({1, 7, 33, 130}, 2, 16);
      attention({450}, 1, 32);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, AttentionBf16, testing::ValuesIn(test::all_backend_names()),
                         test::test_name);

}  // namespace
}  // namespace nacelle::kernels
