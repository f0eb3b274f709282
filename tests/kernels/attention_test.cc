// Attention with a bias by distance and with a window: against the reference, alone and among
// others, and what it refuses. Plain attention is in conformance_test.cc and invariance_test.cc.
#include "kernels/attention.h"

#include <gtest/gtest.h>

#include <cstring>
#include <optional>

#include "tests/kernels/support.h"

namespace nacelle::kernels {
namespace {

using test::Fenced;
using test::kNaN;

// As for plain attention: a score of size s has an error of s * 2^-24, its exponential that one.
constexpr double kBound = 4e-6;

struct Case {
  std::vector<std::uint32_t> lengths;
  std::uint32_t heads = 2;
  std::uint32_t head_width = 16;
  bool bias = false;
  std::uint32_t window = Attention::kNoWindow;
};

// The op of a case with random numbers in fenced memory.
class Data {
 public:
  explicit Data(const Case& c, std::uint32_t seed = 31)
      : numbers_(seed), offsets_(test::offsets_of(c.lengths)) {
    std::uint32_t longest = 1;
    for (const std::uint32_t length : c.lengths) longest = std::max(longest, length);
    qkv_.emplace(numbers_.array(tokens(c) * 3 * c.heads * c.head_width, 1.0F));
    // Exactly as long as promised, so that reading past it is a fault.
    bias_.emplace(numbers_.array(c.heads * (2 * std::size_t{longest} - 1), 2.0F));
    op_ = {.qkv = qkv_->data(),
           .offsets = offsets_.data(),
           .out = nullptr,
           .sequences = static_cast<std::uint32_t>(c.lengths.size()),
           .heads = c.heads,
           .head_width = c.head_width,
           .bias = c.bias ? bias_->data() : nullptr,
           .bias_reach = longest - 1,
           .window = c.window};
  }
  [[nodiscard]] std::size_t tokens(const Case& c) const {
    return offsets_.data()[c.lengths.size()];
  }
  [[nodiscard]] const Attention& op() const { return op_; }
  [[nodiscard]] std::size_t outputs() const {
    return std::size_t{op_.offsets[op_.sequences]} * op_.heads * op_.head_width;
  }
  [[nodiscard]] Fenced<float> run(Backend& backend) const {
    Fenced<float> out(outputs(), kNaN);
    Attention op = op_;
    op.out = out.data();
    backend.attention(op);
    return out;
  }
  // Sequence `s` as a call of its own, written to where it would be in a call of all.
  void run_alone(Backend& backend, std::size_t s, float* out) const {
    const std::size_t begin = op_.offsets[s];
    const std::size_t width = std::size_t{op_.heads} * op_.head_width;
    const auto own = test::offsets_of({op_.offsets[s + 1] - op_.offsets[s]});
    Attention op = op_;
    op.qkv = qkv_->data() + begin * 3 * width;
    op.offsets = own.data();
    op.sequences = 1;
    op.out = out + begin * width;
    backend.attention(op);
  }

 private:
  test::Numbers numbers_;
  Fenced<std::uint32_t> offsets_;
  std::optional<Fenced<float>> qkv_;
  std::optional<Fenced<float>> bias_;
  Attention op_{};
};

class AttentionVariants : public testing::TestWithParam<std::string> {
 protected:
  void compare(const Case& c) {
    SCOPED_TRACE(testing::Message()
                 << "lengths=" << testing::PrintToString(c.lengths) << " heads=" << c.heads
                 << " head_width=" << c.head_width << " bias=" << c.bias << " window=" << c.window);
    const Data data(c);
    const auto out = data.run(*backend_);
    const auto expected = data.run(*reference_);
    EXPECT_LE(test::relative_error(out.data(), expected.data(), out.size()), kBound);
    EXPECT_TRUE(out.intact()) << "wrote before the beginning of the output";
  }

  std::unique_ptr<Backend> backend_ = test::make(GetParam());
  std::unique_ptr<Backend> reference_ = test::make("reference");
};

TEST_P(AttentionVariants, WindowsOfEverySizeAroundTilesAndBlocks) {
  for (const std::uint32_t window :
       {0U, 1U, 3U, 7U, 8U, 15U, 16U, 47U, 48U, 49U, 63U, 64U, 100U, 191U, 192U, 193U, 400U}) {
    compare({.lengths = {420, 1, 50}, .heads = 1, .head_width = 8, .window = window});
  }
}

TEST_P(AttentionVariants, AWindowOverEveryLength) {
  for (const std::uint32_t length :
       {1U, 2U, 5U, 17U, 64U, 65U, 130U, 191U, 192U, 193U, 200U, 257U, 384U, 385U, 600U}) {
    compare({.lengths = {length}, .heads = 1, .head_width = 12, .window = 64});
    compare({.lengths = {2, length}, .heads = 1, .head_width = 5, .window = 2});
  }
}

TEST_P(AttentionVariants, ABiasOverEveryLengthAndHeadWidth) {
  for (const std::uint32_t length : {1U, 2U, 3U, 8U, 15U, 16U, 17U, 49U, 100U, 192U, 193U, 401U}) {
    compare({.lengths = {length, 7}, .heads = 3, .head_width = 8, .bias = true});
  }
  for (const std::uint32_t head_width : {1U, 7U, 16U, 33U, 64U, 128U}) {
    compare({.lengths = {33, 5}, .heads = 2, .head_width = head_width, .bias = true});
  }
}

TEST_P(AttentionVariants, BiasAndWindowTogether) {
  compare({.lengths = {300, 9, 1, 64}, .heads = 2, .head_width = 10, .bias = true, .window = 20});
}

TEST_P(AttentionVariants, OfNothingTouchNothing) {
  compare({.lengths = {}, .bias = true, .window = 3});
  compare({.lengths = {0, 3, 0}, .bias = true, .window = 3});
}

// A window that reaches over the whole sequence is no window, to the bit.
TEST_P(AttentionVariants, AWideWindowIsNone) {
  const Data wide({.lengths = {260, 4}, .window = 259});
  const Data none({.lengths = {260, 4}});
  const auto a = wide.run(*backend_);
  const auto b = none.run(*backend_);
  EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(float)), 0);
}

// A token outside the window, however large its key is, changes nothing.
TEST_P(AttentionVariants, WhatIsOutsideTheWindowDoesNotCount) {
  constexpr std::uint32_t kWidth = 8;
  constexpr std::size_t kLength = 250;
  test::Numbers numbers(5);
  auto qkv = numbers.array(kLength * 3 * kWidth, 1.0F);
  const auto offsets = test::offsets_of({kLength});
  Attention op{.qkv = qkv.data(),
               .offsets = offsets.data(),
               .out = nullptr,
               .sequences = 1,
               .heads = 1,
               .head_width = kWidth,
               .window = 10};
  Fenced<float> before(kLength * kWidth, kNaN);
  op.out = before.data();
  backend_->attention(op);
  for (std::size_t d = 0; d < 2 * std::size_t{kWidth}; ++d) qkv[(200 * 3 + 1) * kWidth + d] = 30.0F;
  Fenced<float> after(kLength * kWidth, kNaN);
  op.out = after.data();
  backend_->attention(op);
  for (std::size_t t = 0; t < kLength; ++t) {
    const bool sees = t >= 190 && t <= 210;
    const bool same = std::memcmp(before.data() + t * kWidth, after.data() + t * kWidth,
                                  kWidth * sizeof(float)) == 0;
    EXPECT_EQ(same, !sees) << "token " << t;
  }
}

INSTANTIATE_TEST_SUITE_P(All, AttentionVariants, testing::ValuesIn(test::fast_backends()),
                         test::test_name);

class AttentionInvariance : public testing::TestWithParam<std::string> {};

TEST_P(AttentionInvariance, ASequenceDoesNotSeeItsNeighbours) {
  for (const bool bias : {false, true}) {
    for (const std::uint32_t window : {Attention::kNoWindow, 40U}) {
      const Case c{.lengths = {1, 250, 7, 8, 9, 64, 33, 400},
                   .heads = 3,
                   .head_width = 20,
                   .bias = bias,
                   .window = window};
      const Data data(c);
      Fenced<float> expected(data.outputs(), kNaN);
      const auto one = test::make(GetParam(), 1);
      for (std::size_t s = 0; s < c.lengths.size(); ++s) data.run_alone(*one, s, expected.data());
      for (const unsigned threads : {1U, 2U, 5U}) {
        const auto backend = test::make(GetParam(), threads);
        const auto out = data.run(*backend);
        EXPECT_EQ(std::memcmp(out.data(), expected.data(), out.size() * sizeof(float)), 0)
            << threads << " threads, bias " << bias << ", window " << window;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, AttentionInvariance, testing::ValuesIn(test::all_backend_names()),
                         test::test_name);

TEST(AttentionDeathTest, ASequenceLongerThanTheBiasReaches) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto backend = test::make("cpu", 1);
  const float floats[64] = {};
  float out[16];
  const std::uint32_t offsets[] = {0, 4};
  EXPECT_DEATH(backend->attention({.qkv = floats,
                                   .offsets = offsets,
                                   .out = out,
                                   .sequences = 1,
                                   .heads = 1,
                                   .head_width = 4,
                                   .bias = floats,
                                   .bias_reach = 2}),
               "bias_reach");
}

}  // namespace
}  // namespace nacelle::kernels
