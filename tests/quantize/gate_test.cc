// The gate's numbers are what they are said to be, and a bad model does not pass.
#include "sidecar/quantize/gate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

namespace nacelle::quantize {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TEST(Gate, CosinePercentilesAreByNearestRank) {
  // Input i has the cosine i / 200 with its source, in a shuffled order.
  std::vector<float> source;
  std::vector<float> quantized;
  for (int i = 0; i < 200; ++i) {
    const double cosine = (i * 77 % 200 + 1) / 200.0;
    source.insert(source.end(), {2, 0});
    quantized.push_back(static_cast<float>(3 * cosine));
    quantized.push_back(static_cast<float>(3 * std::sqrt(1 - cosine * cosine)));
  }
  const Distribution measured = measure_cosine({source, 2}, {quantized, 2});
  EXPECT_NEAR(measured.least, 0.005, 1e-6);
  EXPECT_NEAR(measured.p1, 0.01, 1e-6);  // the second smallest of 200
  EXPECT_NEAR(measured.p50, 0.5, 1e-6);
  EXPECT_NEAR(measured.mean, 0.5025, 1e-6);
}

TEST(Gate, CosineOfRowsWithoutDirection) {
  const std::vector<float> source = {0, 0, 1, 0, 1, 0, 1, 0};
  const std::vector<float> quantized = {0, 0, 0, 0, kNan, 0, INFINITY, 0};
  EXPECT_EQ(
      measure_cosine({std::span(source).first(2), 2}, {std::span(quantized).first(2), 2}).least, 1);
  const Distribution all = measure_cosine({source, 2}, {quantized, 2});
  EXPECT_EQ(all.least, -1);
  EXPECT_EQ(all.mean, (1 + 0 - 1 - 1) / 4.0);
}

TEST(Gate, ACosineNearOneCanHideAnotherWinner) {
  const std::vector<float> source = {0.500F, 0.470F, 0.475F};
  const std::vector<float> quantized = {0.534F, 0.524F, 0.566F};
  const Distribution cosine = measure_cosine({source, 3}, {quantized, 3});
  EXPECT_GT(cosine.least, 0.998);
  const Ranks ranks = measure_rerank(source, quantized, 3);
  EXPECT_EQ(ranks.first_kept, 0);
  EXPECT_NEAR(ranks.spearman, 0.5, 1e-12);
  const Judgement judgement =
      judge({.inputs = 1000, .cosine = cosine, .ranks = ranks}, Thresholds{});
  EXPECT_EQ(judgement.verdict, Verdict::kRefuse);
}

TEST(Gate, FlipsOfOneLabelAndOfManyLabels) {
  const std::vector<float> source = {1, 0, 0, 1, 3, -3, 1, 2};
  const std::vector<float> quantized = {0.9F, 0, 1, 0, 3, -3, kNan, 2};
  const Flips one = measure_flips({source, 2}, {quantized, 2}, false);
  EXPECT_EQ(one.inputs, 4U);
  EXPECT_EQ(one.flipped, 2U);  // the second, and the one with a NaN
  EXPECT_EQ(one.share(), 0.5);
  EXPECT_EQ(one.probability_moved, 1);

  const std::vector<float> before = {1, -1, 1, -1};
  const std::vector<float> after = {2, -2, 1, 1};
  const Flips many = measure_flips({before, 2}, {after, 2}, true);
  EXPECT_EQ(many.flipped, 1U);
  EXPECT_NEAR(many.probability_moved, 1 / (1 + std::exp(-1.0)) - 1 / (1 + std::exp(1.0)), 1e-12);
}

TEST(Gate, SpearmanGivesTiesTheirMeanRank) {
  // Ranks 1 2.5 2.5 4 5 and 2 1 3.5 3.5 5: covariance 7.25, variance 9.5 each.
  const std::vector<float> a = {1, 2, 2, 3, 5};
  const std::vector<float> b = {2, 1, 4, 4, 5};
  const Ranks ranks = measure_rerank(a, b, 5);
  EXPECT_NEAR(ranks.spearman, 7.25 / 9.5, 1e-12);
  EXPECT_EQ(ranks.first_kept, 1);
  EXPECT_EQ(ranks.ten_kept, 1);
}

std::vector<float> random_rows(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> rows(count);
  for (float& x : rows) x = normal(random);
  return rows;
}

TEST(Gate, RanksAreTheSameForTheSameSeedAndFallWithNoise) {
  const std::vector<float> source = random_rows(300 * 16, 1);
  const std::vector<float> noise = random_rows(300 * 16, 2);
  double last = 1;
  for (const float share : {0.0F, 0.05F, 0.3F, 3.0F}) {
    std::vector<float> moved = source;
    for (std::size_t i = 0; i < moved.size(); ++i) moved[i] += share * noise[i];
    const Ranks ranks = measure_ranks({source, 16}, {moved, 16}, 50, 7);
    EXPECT_EQ(ranks.queries, 50U);
    EXPECT_EQ(ranks.spearman, measure_ranks({source, 16}, {moved, 16}, 50, 7).spearman);
    if (share == 0) {
      EXPECT_EQ(ranks.spearman, 1);
      EXPECT_EQ(ranks.first_kept, 1);
      EXPECT_EQ(ranks.ten_kept, 1);
    } else {
      EXPECT_LT(ranks.spearman, last);
      EXPECT_LT(ranks.ten_kept, 1);
    }
    last = ranks.spearman;
  }
  EXPECT_LT(last, 0.6);
}

TEST(Gate, ABestCandidateThatIsAsGoodIsKept) {
  // The query is the first row; the angles of the others to it, in both models.
  const auto rows = [](const std::vector<double>& angles) {
    std::vector<float> out;
    for (const double angle : angles) {
      out.push_back(static_cast<float>(std::cos(angle)));
      out.push_back(static_cast<float>(std::sin(angle)));
    }
    return out;
  };
  const std::vector<float> source = rows({0, 0.50, 0.51, 1.2});
  const auto first_kept = [&](const std::vector<double>& angles) {
    const std::vector<float> quantized = rows(angles);
    // Every row is a query; of the four, only the first one's answer is in question here.
    return measure_ranks({source, 2}, {quantized, 2}, 4, 1).first_kept;
  };
  EXPECT_EQ(first_kept({0, 0.51, 0.50, 1.2}), 1);  // cosines 0.005 apart
  EXPECT_LT(first_kept({0, 1.19, 1.21, 0.5}), 1);  // the far one has come near
}

TEST(Gate, ALayerIsJudgedByItsWeightsAndItsWorstRow) {
  const std::vector<float> weights = random_rows(100 * 32, 3);
  std::vector<float> scaled = weights;
  for (float& x : scaled) x *= 1.3F;
  EXPECT_NEAR(measure_layer("scaled", weights, scaled, 32).relative_error, 0.3, 1e-6);

  std::vector<float> holed = weights;
  std::fill_n(holed.begin() + 32 * 5, 32, 0.0F);
  const LayerDistance hole = measure_layer("holed", weights, holed, 32);
  EXPECT_LT(hole.relative_error, 0.15);  // which the sum over all rows would let pass
  EXPECT_NEAR(hole.worst_row_error, 1, 1e-6);

  const std::vector<float> zeros(32);
  EXPECT_EQ(measure_layer("zeros", zeros, zeros, 32).worst_row_error, 0);
  EXPECT_EQ(measure_layer("from nothing", zeros, std::span(weights).first(32), 32).relative_error,
            HUGE_VAL);
  std::vector<float> broken = weights;
  broken[0] = kNan;
  const LayerDistance nan = measure_layer("broken", weights, broken, 32);
  EXPECT_EQ(nan.relative_error, HUGE_VAL);
  EXPECT_EQ(nan.worst_row_error, HUGE_VAL);

  const Distribution fine{1, 1, 1, 1};
  for (const LayerDistance& layer : {hole, nan}) {
    const Judgement judgement =
        judge({.inputs = 1000, .cosine = fine, .layers = {layer}}, Thresholds{});
    EXPECT_EQ(judgement.verdict, Verdict::kRefuse) << layer.name;
    EXPECT_NE(judgement.reasons.back().find(layer.name), std::string::npos);
  }
}

TEST(Gate, LayersAreSortedWorstFirst) {
  std::vector<LayerDistance> layers = {
      {.name = "b", .relative_error = 0.1},
      {.name = "a", .relative_error = 0.1},
      {.name = "broken", .relative_error = HUGE_VAL},
      {.name = "felt", .relative_error = 0.01, .sensitivity = 0.5},
      {.name = "bad", .relative_error = 0.2},
  };
  sort_worst_first(layers);
  std::string order;
  for (const LayerDistance& layer : layers) order += layer.name + " ";
  EXPECT_EQ(order, "felt broken bad a b ");
}

TEST(Gate, VerdictsAtTheLimits) {
  const auto verdict = [](double p1) {
    return judge({.inputs = 1000, .cosine = Distribution{p1, p1, p1, p1}}, Thresholds{}).verdict;
  };
  EXPECT_EQ(verdict(0.95), Verdict::kPass);
  EXPECT_EQ(verdict(0.9499), Verdict::kWarn);
  EXPECT_EQ(verdict(0.90), Verdict::kWarn);
  EXPECT_EQ(verdict(0.8999), Verdict::kRefuse);
  EXPECT_EQ(verdict(std::nan("")), Verdict::kRefuse);

  const Judgement flips =
      judge({.inputs = 1000, .flips = Flips{.inputs = 1000, .flipped = 20}}, Thresholds{});
  EXPECT_EQ(flips.verdict, Verdict::kWarn);
  EXPECT_EQ(flips.reasons,
            std::vector<std::string>{"the share of flipped labels is 0.02, above 0.01"});

  EXPECT_EQ(judge({.inputs = 1000}, Thresholds{}).verdict, Verdict::kRefuse);
  EXPECT_EQ(judge({.inputs = 999, .cosine = Distribution{1, 1, 1, 1}}, Thresholds{}).verdict,
            Verdict::kRefuse);
}

}  // namespace
}  // namespace nacelle::quantize
