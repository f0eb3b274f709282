// Every backend and target against the reference: all element types, awkward shapes, large and
// small numbers with outliers.
//
// Outputs are full of NaN before each call and end at an unreadable page, as all inputs do.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "tests/kernels/support.h"

namespace nacelle::kernels {
namespace {

using test::Fenced;
using test::kNaN;
using test::Matrix;
using test::Numbers;

// The largest ||out - reference|| / ||reference|| that passes, in float arithmetic. An op that
// loses more digits for a reason has the reason here.
struct Bound {
  static constexpr double kLinear = 2e-6;     // inputs up to 4096
  static constexpr double kEmbed = 1e-6;      //
  static constexpr double kLayerNorm = 1e-6;  //
  static constexpr double kPool = 1e-6;       //
  // A score of size s has an error of s * 2^-24 or more, and its exponential that relative error.
  // The test's scores go up to about 40.
  static constexpr double kAttention = 4e-6;
};

constexpr std::array kTypes = {ElementType::kF32, ElementType::kF16, ElementType::kBF16};
constexpr std::array kMagnitudes = {1e-4F, 1.0F, 60.0F};
constexpr std::array<std::uint32_t, 18> kSizes = {1,  2,  3,  5,  7,  8,  15, 16,  17,
                                                  31, 33, 47, 49, 63, 65, 96, 127, 129};

class Conformance : public testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<Backend> backend_ = test::make(GetParam());
  std::unique_ptr<Backend> reference_ = test::make("reference");
  Numbers numbers_{20240611};

  // Runs `op` on both sides with outputs of `count` floats each, and compares.
  template <typename Op, typename Call>
  void compare(Op op, std::size_t count, double bound, Call call) {
    Fenced<float> out(count, kNaN);
    Fenced<float> expected(count, kNaN);
    op.out = out.data();
    call(*backend_, op);
    op.out = expected.data();
    call(*reference_, op);
    EXPECT_LE(test::relative_error(out.data(), expected.data(), count), bound);
    EXPECT_TRUE(out.intact()) << "wrote before the beginning of the output";
  }

  struct LinearCase {
    std::uint32_t rows, inputs, outputs;
    ElementType type = ElementType::kF32;
    float magnitude = 1.0F;
    Activation activation = Activation::kNone;
    bool bias = true;
    bool residual = false;
  };

  void linear(const LinearCase& c) {
    SCOPED_TRACE(testing::Message()
                 << "rows=" << c.rows << " inputs=" << c.inputs << " outputs=" << c.outputs
                 << " type=" << element_name(c.type) << " magnitude=" << c.magnitude
                 << " activation=" << static_cast<int>(c.activation) << " bias=" << c.bias
                 << " residual=" << c.residual);
    const Matrix weights(numbers_, c.type, c.outputs, c.inputs,
                         1.0F / std::sqrt(static_cast<float>(c.inputs)));
    const auto bias = numbers_.array(c.outputs, c.magnitude);
    const auto in = numbers_.array(std::size_t{c.rows} * c.inputs, c.magnitude);
    const auto residual = numbers_.array(std::size_t{c.rows} * c.outputs, c.magnitude);
    const LinearWeights layer{.weights = weights.tensor(), .bias = c.bias ? bias.data() : nullptr};
    auto packed = backend_->pack(layer);
    auto reference = reference_->pack(layer);
    ASSERT_TRUE(packed && reference);
    EXPECT_EQ((*packed)->inputs, c.inputs);
    EXPECT_EQ((*packed)->outputs, c.outputs);

    const Linear op{.in = in.data(),
                    .weights = nullptr,
                    .out = nullptr,
                    .rows = c.rows,
                    .activation = c.activation,
                    .residual = c.residual ? residual.data() : nullptr};
    compare(op, std::size_t{c.rows} * c.outputs, Bound::kLinear, [&](Backend& b, Linear o) {
      o.weights = &b == reference_.get() ? reference->get() : packed->get();
      b.linear(o);
    });
  }

  struct AttentionCase {
    std::vector<std::uint32_t> lengths;
    std::uint32_t heads, head_width;
    float magnitude = 1.0F;  // of q and k; v is 60 times that
  };

  void attention(const AttentionCase& c) {
    SCOPED_TRACE(testing::Message()
                 << "lengths=" << testing::PrintToString(c.lengths) << " heads=" << c.heads
                 << " head_width=" << c.head_width << " magnitude=" << c.magnitude);
    const auto offsets = test::offsets_of(c.lengths);
    const std::uint32_t tokens = offsets.data()[c.lengths.size()];
    const std::size_t width = std::size_t{c.heads} * c.head_width;
    auto qkv = numbers_.array(tokens * 3 * width, c.magnitude);
    for (std::size_t t = 0; t < tokens; ++t) {
      for (std::size_t i = 0; i < width; ++i) qkv[(3 * t + 2) * width + i] *= 60;
    }
    compare(Attention{.qkv = qkv.data(),
                      .offsets = offsets.data(),
                      .out = nullptr,
                      .sequences = static_cast<std::uint32_t>(c.lengths.size()),
                      .heads = c.heads,
                      .head_width = c.head_width},
            tokens * width, Bound::kAttention,
            [](Backend& b, const Attention& o) { b.attention(o); });
  }

  void layer_norm(std::uint32_t rows, std::uint32_t width, float magnitude, float shift,
                  bool in_place) {
    SCOPED_TRACE(testing::Message() << "rows=" << rows << " width=" << width << " magnitude="
                                    << magnitude << " shift=" << shift << " in place=" << in_place);
    auto in = numbers_.array(std::size_t{rows} * width, magnitude);
    for (std::size_t i = 0; i < in.size(); ++i) in[i] += shift;
    const auto gamma = numbers_.array(width, 1.0F);
    const auto beta = numbers_.array(width, 1.0F);
    const LayerNorm op{.in = in.data(),
                       .gamma = gamma.data(),
                       .beta = beta.data(),
                       .out = nullptr,
                       .rows = rows,
                       .width = width,
                       .epsilon = 1e-12F};
    compare(op, in.size(), Bound::kLayerNorm, [&](Backend& b, LayerNorm o) {
      if (in_place) {
        std::copy_n(in.data(), in.size(), o.out);
        o.in = o.out;
      }
      b.layer_norm(o);
    });
  }

  void embed(const std::vector<std::uint32_t>& lengths, std::uint32_t width, ElementType type,
             bool types, float magnitude) {
    SCOPED_TRACE(testing::Message() << "lengths=" << testing::PrintToString(lengths)
                                    << " width=" << width << " type=" << element_name(type)
                                    << " types=" << types << " magnitude=" << magnitude);
    constexpr std::uint32_t kWords = 50;
    const Matrix words(numbers_, type, kWords, width, magnitude);
    const Matrix positions(numbers_, type, 70, width, magnitude);
    const Matrix types_table(numbers_, type, 2, width, magnitude);
    const auto gamma = numbers_.array(width, 1.0F);
    const auto beta = numbers_.array(width, 1.0F);
    const auto offsets = test::offsets_of(lengths);
    const std::uint32_t tokens = offsets.data()[lengths.size()];
    Fenced<std::uint32_t> ids(tokens);
    Fenced<std::uint32_t> kinds(tokens);
    for (std::size_t t = 0; t < tokens; ++t) {
      ids[t] = t == 0 ? kWords - 1 : numbers_.below(kWords);  // the last row is the dangerous one
      kinds[t] = numbers_.below(2);
    }
    compare(EmbedNorm{.ids = ids.data(),
                      .types = types ? kinds.data() : nullptr,
                      .offsets = offsets.data(),
                      .words = words.tensor(),
                      .positions = positions.tensor(),
                      .types_table = types_table.tensor(),
                      .gamma = gamma.data(),
                      .beta = beta.data(),
                      .out = nullptr,
                      .sequences = static_cast<std::uint32_t>(lengths.size()),
                      .width = width,
                      .epsilon = 1e-12F},
            std::size_t{tokens} * width, Bound::kEmbed,
            [](Backend& b, const EmbedNorm& o) { b.embed(o); });
  }

  void pool(const std::vector<std::uint32_t>& lengths, std::uint32_t width, Pooling pooling,
            bool normalize, float magnitude) {
    SCOPED_TRACE(testing::Message() << "lengths=" << testing::PrintToString(lengths) << " width="
                                    << width << " pooling=" << static_cast<int>(pooling)
                                    << " normalize=" << normalize << " magnitude=" << magnitude);
    const auto offsets = test::offsets_of(lengths);
    auto hidden = numbers_.array(std::size_t{offsets.data()[lengths.size()]} * width, magnitude);
    compare(Pool{.hidden = hidden.data(),
                 .offsets = offsets.data(),
                 .out = nullptr,
                 .sequences = static_cast<std::uint32_t>(lengths.size()),
                 .width = width,
                 .pooling = pooling,
                 .normalize = normalize},
            lengths.size() * width, Bound::kPool, [](Backend& b, const Pool& o) { b.pool(o); });
  }
};

TEST_P(Conformance, LinearOfEverySizeAroundTheTile) {
  for (const std::uint32_t rows : kSizes) linear({.rows = rows, .inputs = 33, .outputs = 49});
  for (const std::uint32_t outputs : kSizes) linear({.rows = 9, .inputs = 33, .outputs = outputs});
  for (const std::uint32_t inputs : kSizes) linear({.rows = 9, .inputs = inputs, .outputs = 49});
}

TEST_P(Conformance, LinearOfLongSums) {
  for (const std::uint32_t inputs : {255U, 256U, 257U, 511U, 513U, 1536U, 3072U, 4096U}) {
    for (const float magnitude : kMagnitudes) {
      linear({.rows = 5, .inputs = inputs, .outputs = 50, .magnitude = magnitude});
    }
  }
}

TEST_P(Conformance, LinearOfManyRowsAndPanels) {
  linear({.rows = 1100, .inputs = 385, .outputs = 97});
  linear({.rows = 2, .inputs = 129, .outputs = 3001});
}

TEST_P(Conformance, LinearWithEveryEpilogueTypeAndMagnitude) {
  for (const ElementType type : kTypes) {
    for (const float magnitude : kMagnitudes) {
      for (const Activation activation : test::kActivations) {
        for (const bool bias : {false, true}) {
          for (const bool residual : {false, true}) {
            linear({.rows = 7,
                    .inputs = 67,
                    .outputs = 53,
                    .type = type,
                    .magnitude = magnitude,
                    .activation = activation,
                    .bias = bias,
                    .residual = residual});
          }
        }
      }
    }
  }
}

TEST_P(Conformance, LinearOfNoRowsTouchesNothing) {
  linear({.rows = 0, .inputs = 16, .outputs = 16});
}

TEST_P(Conformance, LinearPassesNanAndInfinityOn) {
  constexpr std::uint32_t kInputs = 40;
  constexpr std::uint32_t kOutputs = 51;
  const Matrix weights(numbers_, ElementType::kF32, kOutputs, kInputs, 1.0F);
  for (const Activation activation : test::kActivations) {
    auto in = numbers_.array(std::size_t{4} * kInputs, 1.0F);
    in[0 * kInputs + 3] = kNaN;
    in[1 * kInputs + 39] = INFINITY;
    in[2 * kInputs + 7] = -INFINITY;
    auto packed = backend_->pack({.weights = weights.tensor()});
    auto reference = reference_->pack({.weights = weights.tensor()});
    ASSERT_TRUE(packed && reference);
    Fenced<float> out(std::size_t{4} * kOutputs);
    Fenced<float> expected(std::size_t{4} * kOutputs);
    Linear op{.in = in.data(),
              .weights = packed->get(),
              .out = out.data(),
              .rows = 4,
              .activation = activation};
    backend_->linear(op);
    op.weights = reference->get();
    op.out = expected.data();
    reference_->linear(op);
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (std::isfinite(expected[i])) {
        EXPECT_NEAR(out[i], expected[i], 1e-4) << i;
      } else if (std::isnan(expected[i])) {
        EXPECT_TRUE(std::isnan(out[i])) << i << ": " << out[i];
      } else {
        EXPECT_EQ(out[i], expected[i]) << i;
      }
    }
  }
}

TEST_P(Conformance, AttentionOfEveryLengthAroundTheTile) {
  for (const std::uint32_t length : kSizes) {
    attention({.lengths = {length}, .heads = 2, .head_width = 32});
  }
}

TEST_P(Conformance, AttentionOfEveryHeadWidth) {
  for (const std::uint32_t width : kSizes) {
    attention({.lengths = {19, 1, 5}, .heads = 3, .head_width = width});
  }
  for (const std::uint32_t width : {64U, 80U, 128U, 256U, 300U}) {
    attention({.lengths = {37}, .heads = 1, .head_width = width});
  }
}

TEST_P(Conformance, AttentionOfLongSequences) {
  for (const std::uint32_t length : {191U, 192U, 193U, 383U, 385U, 600U}) {
    attention({.lengths = {3, length, 2}, .heads = 1, .head_width = 24});
  }
}

TEST_P(Conformance, AttentionOfSmallAndLargeScores) {
  for (const float magnitude : {1e-4F, 0.1F, 2.0F}) {
    attention({.lengths = {40, 7}, .heads = 2, .head_width = 16, .magnitude = magnitude});
  }
}

TEST_P(Conformance, AttentionOfNothingTouchesNothing) {
  attention({.lengths = {}, .heads = 2, .head_width = 16});
  attention({.lengths = {0, 0}, .heads = 2, .head_width = 16});
  attention({.lengths = {0, 3, 0, 4, 0}, .heads = 2, .head_width = 16});
}

// One poisoned token poisons its own sequence where the reference says so, and no other.
TEST_P(Conformance, AttentionKeepsNanInItsSequence) {
  constexpr std::uint32_t kWidth = 16;
  for (const float poison : {kNaN, INFINITY, -INFINITY}) {
    auto qkv = numbers_.array(std::size_t{30} * 3 * kWidth, 1.0F);
    qkv[(10 * 3 + 1) * kWidth + 2] = poison;  // a key of the second sequence
    const auto offsets = test::offsets_of({10, 12, 8});
    Fenced<float> out(std::size_t{30} * kWidth);
    Fenced<float> expected(std::size_t{30} * kWidth);
    Attention op{.qkv = qkv.data(),
                 .offsets = offsets.data(),
                 .out = out.data(),
                 .sequences = 3,
                 .heads = 1,
                 .head_width = kWidth};
    backend_->attention(op);
    op.out = expected.data();
    reference_->attention(op);
    for (std::size_t i = 0; i < out.size(); ++i) {
      EXPECT_EQ(std::isnan(out[i]), std::isnan(expected[i])) << i << " with " << poison;
      if (std::isfinite(expected[i])) {
        EXPECT_NEAR(out[i], expected[i], 1e-4) << i;
      }
    }
  }
}

// All keys of the first block score -inf; those after it are ordinary.
TEST_P(Conformance, AttentionSurvivesABlockWithoutWeight) {
  constexpr std::uint32_t kLength = 400;
  auto qkv = numbers_.array(std::size_t{kLength} * 3, 1.0F);
  for (std::size_t t = 0; t < kLength; ++t) {
    qkv[3 * t] = 1.0F;
    if (t < 250) qkv[3 * t + 1] = -INFINITY;
  }
  const auto offsets = test::offsets_of({kLength});
  compare(Attention{.qkv = qkv.data(),
                    .offsets = offsets.data(),
                    .out = nullptr,
                    .sequences = 1,
                    .heads = 1,
                    .head_width = 1},
          kLength, Bound::kAttention, [](Backend& b, const Attention& o) { b.attention(o); });
}

TEST_P(Conformance, LayerNormOfEveryWidth) {
  for (const std::uint32_t width : kSizes) {
    for (const float magnitude : kMagnitudes) {
      // Width 1 normalizes to 0 * gamma + beta: exact everywhere.
      layer_norm(3, width, magnitude, 0.0F, false);
      layer_norm(2, width, magnitude, magnitude, true);
    }
  }
  layer_norm(300, 384, 1.0F, 0.0F, false);
  layer_norm(300, 768, 1.0F, 0.0F, true);
  layer_norm(0, 8, 1.0F, 0.0F, false);
}

TEST_P(Conformance, LayerNormFarFromZeroKeepsItsDigits) {
  layer_norm(4, 384, 1.0F, 10000.0F, false);
  layer_norm(4, 1021, 0.1F, -3000.0F, false);
}

TEST_P(Conformance, EmbedOfEveryWidthAndType) {
  for (const ElementType type : kTypes) {
    // 2 is left out: two nearly equal numbers normalize to any digits.
    for (const std::uint32_t width : kSizes) {
      if (width != 2) embed({3, 1, 7}, width, type, true, 1.0F);
    }
    for (const float magnitude : kMagnitudes) {
      embed({70, 1, 2}, 384, type, true, magnitude);
      embed({0, 33, 0}, 385, type, false, magnitude);
    }
  }
  embed({}, 384, ElementType::kF32, true, 1.0F);
  embed(std::vector<std::uint32_t>(40, 20), 768, ElementType::kF16, false, 1.0F);
}

TEST_P(Conformance, PoolOfEveryWidthLengthAndKind) {
  for (const Pooling pooling : {Pooling::kMean, Pooling::kFirst, Pooling::kLast, Pooling::kMax,
                                Pooling::kMeanSqrt, Pooling::kWeightedMean}) {
    for (const bool normalize : {false, true}) {
      for (const std::uint32_t size : kSizes) {
        pool({3, size, 1}, 33, pooling, normalize, 1.0F);
        pool({2, 9}, size, pooling, normalize, 1.0F);
      }
      for (const float magnitude : kMagnitudes) {
        pool({513, 64, 65}, 384, pooling, normalize, magnitude);
      }
      pool({}, 8, pooling, normalize, 1.0F);
      pool(std::vector<std::uint32_t>(50, 30), 768, pooling, normalize, 1.0F);
    }
  }
}

TEST_P(Conformance, PoolNormalizesAnySizeAndLeavesZeroAlone) {
  const auto offsets = test::offsets_of({1});
  for (const float size : {0.0F, 1e-38F, 1e-13F, 1e-11F, 1e-8F, 1e10F, 1e20F, 1e38F}) {
    SCOPED_TRACE(size);
    Fenced<float> hidden(21, size);
    compare(Pool{.hidden = hidden.data(),
                 .offsets = offsets.data(),
                 .out = nullptr,
                 .sequences = 1,
                 .width = 21,
                 .pooling = Pooling::kMean,
                 .normalize = true},
            21, Bound::kPool, [](Backend& b, const Pool& o) { b.pool(o); });
  }
}

INSTANTIATE_TEST_SUITE_P(All, Conformance, testing::ValuesIn(test::fast_backends()),
                         test::test_name);

}  // namespace
}  // namespace nacelle::kernels
