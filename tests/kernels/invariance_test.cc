// Batch-invariance: the bytes of a row or a sequence are the same whatever else is in the call, on
// however many threads. It is what makes a cached answer equal to a recomputed one.
#include <gtest/gtest.h>

#include <cstring>

#include "tests/kernels/support.h"

namespace nacelle::kernels {
namespace {

using test::Fenced;
using test::kNaN;
using test::Matrix;
using test::Numbers;

class Invariance : public testing::TestWithParam<std::string> {
 protected:
  Numbers numbers_{7};
  std::unique_ptr<Backend> alone_ = test::make(GetParam(), 1);

  // Calls check(backend) for teams of 1, 2 and 5.
  template <typename Check>
  void on_each_team(Check check) {
    for (const unsigned threads : {1U, 2U, 5U}) {
      SCOPED_TRACE(testing::Message() << threads << " threads");
      const auto backend = test::make(GetParam(), threads);
      check(*backend);
    }
  }
};

bool same_bytes(const float* a, const float* b, std::size_t count) {
  return std::memcmp(a, b, count * sizeof(float)) == 0;
}

TEST_P(Invariance, ALinearRowDoesNotSeeItsNeighbours) {
  // Deep enough for every way to cut it, and wide enough for the special path of a single row.
  constexpr std::uint32_t kInputs = 1600;
  constexpr std::uint32_t kOutputs = 250;
  constexpr std::uint32_t kRowsMax = 129;
  const Matrix weights(numbers_, ElementType::kF32, kOutputs, kInputs, 0.1F);
  const auto in = numbers_.array(std::size_t{kRowsMax} * kInputs, 1.0F);
  const auto residual = numbers_.array(std::size_t{kRowsMax} * kOutputs, 1.0F);

  Fenced<float> expected(std::size_t{kRowsMax} * kOutputs, kNaN);
  auto packed_alone = alone_->pack({.weights = weights.tensor()});
  for (std::size_t row = 0; row < kRowsMax; ++row) {
    alone_->linear({.in = in.data() + row * kInputs,
                    .weights = packed_alone.value().get(),
                    .out = expected.data() + row * kOutputs,
                    .rows = 1,
                    .activation = Activation::kGelu,
                    .residual = residual.data() + row * kOutputs});
  }

  on_each_team([&](Backend& backend) {
    auto packed = backend.pack({.weights = weights.tensor()});
    for (const std::uint32_t rows : {1U, 2U, 5U, 7U, 8U, 13U, 64U, 129U}) {
      // The rows come last, first, and in between: at every place in a tile.
      for (const std::uint32_t first : {0U, 1U, 3U, kRowsMax - rows}) {
        if (first + rows > kRowsMax) continue;
        Fenced<float> out(std::size_t{rows} * kOutputs, kNaN);
        backend.linear({.in = in.data() + std::size_t{first} * kInputs,
                        .weights = packed.value().get(),
                        .out = out.data(),
                        .rows = rows,
                        .activation = Activation::kGelu,
                        .residual = residual.data() + std::size_t{first} * kOutputs});
        EXPECT_TRUE(
            same_bytes(out.data(), expected.data() + std::size_t{first} * kOutputs, out.size()))
            << rows << " rows from " << first;
      }
    }
  });
}

TEST_P(Invariance, AnAttendedSequenceDoesNotSeeItsNeighbours) {
  constexpr std::uint32_t kHeads = 3;
  constexpr std::uint32_t kHeadWidth = 20;
  constexpr std::size_t kWidth = std::size_t{kHeads} * kHeadWidth;
  const std::vector<std::uint32_t> lengths = {1, 250, 7, 8, 9, 64, 33, 400};
  const auto offsets = test::offsets_of(lengths);
  const std::size_t tokens = offsets.data()[lengths.size()];
  const auto qkv = numbers_.array(tokens * 3 * kWidth, 1.0F);

  Fenced<float> expected(tokens * kWidth, kNaN);
  for (std::size_t s = 0; s < lengths.size(); ++s) {
    const auto own = test::offsets_of({lengths[s]});
    alone_->attention({.qkv = qkv.data() + offsets.data()[s] * 3 * kWidth,
                       .offsets = own.data(),
                       .out = expected.data() + offsets.data()[s] * kWidth,
                       .sequences = 1,
                       .heads = kHeads,
                       .head_width = kHeadWidth});
  }

  on_each_team([&](Backend& backend) {
    Fenced<float> out(tokens * kWidth, kNaN);
    backend.attention({.qkv = qkv.data(),
                       .offsets = offsets.data(),
                       .out = out.data(),
                       .sequences = static_cast<std::uint32_t>(lengths.size()),
                       .heads = kHeads,
                       .head_width = kHeadWidth});
    EXPECT_TRUE(same_bytes(out.data(), expected.data(), out.size()));
  });
}

TEST_P(Invariance, ANormalizedRowDoesNotSeeItsNeighbours) {
  constexpr std::uint32_t kWidth = 391;
  constexpr std::uint32_t kRows = 200;
  const auto in = numbers_.array(std::size_t{kRows} * kWidth, 1.0F);
  const auto gamma = numbers_.array(kWidth, 1.0F);
  const auto beta = numbers_.array(kWidth, 1.0F);
  LayerNorm op{.in = in.data(),
               .gamma = gamma.data(),
               .beta = beta.data(),
               .out = nullptr,
               .rows = 1,
               .width = kWidth,
               .epsilon = 1e-12F};

  Fenced<float> expected(std::size_t{kRows} * kWidth, kNaN);
  for (std::size_t row = 0; row < kRows; ++row) {
    op.in = in.data() + row * kWidth;
    op.out = expected.data() + row * kWidth;
    alone_->layer_norm(op);
  }

  op.in = in.data();
  op.rows = kRows;
  on_each_team([&](Backend& backend) {
    Fenced<float> out(std::size_t{kRows} * kWidth, kNaN);
    op.out = out.data();
    backend.layer_norm(op);
    EXPECT_TRUE(same_bytes(out.data(), expected.data(), out.size()));
  });
}

TEST_P(Invariance, AnEmbeddedAndAPooledSequenceDoNotSeeTheirNeighbours) {
  constexpr std::uint32_t kWidth = 200;
  const std::vector<std::uint32_t> lengths = {70, 1, 33, 64, 2, 90, 5};
  const auto offsets = test::offsets_of(lengths);
  const auto sequences = static_cast<std::uint32_t>(lengths.size());
  const std::size_t tokens = offsets.data()[sequences];
  const Matrix words(numbers_, ElementType::kF16, 40, kWidth, 1.0F);
  const Matrix positions(numbers_, ElementType::kBF16, 90, kWidth, 1.0F);
  const Matrix types(numbers_, ElementType::kF32, 1, kWidth, 1.0F);
  const auto gamma = numbers_.array(kWidth, 1.0F);
  Fenced<std::uint32_t> ids(tokens);
  for (std::size_t t = 0; t < tokens; ++t) ids[t] = numbers_.below(40);

  EmbedNorm embed{.ids = ids.data(),
                  .types = nullptr,
                  .offsets = offsets.data(),
                  .words = words.tensor(),
                  .positions = positions.tensor(),
                  .types_table = types.tensor(),
                  .gamma = gamma.data(),
                  .beta = gamma.data(),
                  .out = nullptr,
                  .sequences = sequences,
                  .width = kWidth,
                  .epsilon = 1e-12F};
  Pool pool{.hidden = nullptr,
            .offsets = offsets.data(),
            .out = nullptr,
            .sequences = sequences,
            .width = kWidth,
            .pooling = Pooling::kMean,
            .normalize = true};

  Fenced<float> expected_hidden(tokens * kWidth, kNaN);
  Fenced<float> expected_pooled(std::size_t{sequences} * kWidth, kNaN);
  for (std::size_t s = 0; s < sequences; ++s) {
    const auto own = test::offsets_of({lengths[s]});
    EmbedNorm one = embed;
    one.sequences = 1;
    one.offsets = own.data();
    one.ids = ids.data() + offsets.data()[s];
    one.out = expected_hidden.data() + offsets.data()[s] * std::size_t{kWidth};
    alone_->embed(one);
    Pool one_pool = pool;
    one_pool.sequences = 1;
    one_pool.offsets = own.data();
    one_pool.hidden = one.out;
    one_pool.out = expected_pooled.data() + s * kWidth;
    alone_->pool(one_pool);
  }

  on_each_team([&](Backend& backend) {
    Fenced<float> hidden(tokens * kWidth, kNaN);
    Fenced<float> pooled(std::size_t{sequences} * kWidth, kNaN);
    embed.out = hidden.data();
    backend.embed(embed);
    EXPECT_TRUE(same_bytes(hidden.data(), expected_hidden.data(), hidden.size()));
    pool.hidden = hidden.data();
    pool.out = pooled.data();
    backend.pool(pool);
    EXPECT_TRUE(same_bytes(pooled.data(), expected_pooled.data(), pooled.size()));
  });
}

INSTANTIATE_TEST_SUITE_P(All, Invariance, testing::ValuesIn(test::all_backend_names()),
                         test::test_name);

}  // namespace
}  // namespace nacelle::kernels
