// Whether a quantized model still answers as its source does: measured, judged, and written down.
//
//   measure_*()   numbers from the two models' answers to the same inputs
//   judge()       the numbers against thresholds: pass, warn or refuse, with every reason
//
// No number decides alone. The cosine of an item says how far its vector moved, not whether the
// order of items changed: scores of 0.500 / 0.470 / 0.475 and 0.534 / 0.524 / 0.566 have cosine
// 0.999 and another winner. So label flips and ranks are judged beside it, and so is the distance
// of every layer's weights, which sees a broken layer that the others make up for.
//
// Everything here is arithmetic on its arguments: the same answers and seed give the same report.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace nacelle::quantize {

// Answers of one model, a row an input.
struct Answers {
  std::span<const float> rows;  // [inputs, width]
  std::uint32_t width = 0;

  [[nodiscard]] std::size_t inputs() const { return width == 0 ? 0 : rows.size() / width; }
  [[nodiscard]] std::span<const float> row(std::size_t i) const {
    return rows.subspan(i * width, width);
  }
};

// Percentiles by nearest rank: p1 of 1,000 is the tenth smallest.
struct Distribution {
  double least = 0;
  double p1 = 0;
  double p50 = 0;
  double mean = 0;
};

// Cosine of each input's row in both models, from -1 to 1. A row of zeros in one of them counts as
// 0, in both as 1, and a row with NaN or infinity as -1.
Distribution measure_cosine(const Answers& source, const Answers& quantized);

// How often the answer to a classification changed. Rows are logits.
struct Flips {
  std::size_t inputs = 0;
  std::size_t flipped = 0;       // the largest logit is another; with `multi_label`, any sign
  double probability_moved = 0;  // the largest difference of one label's probability
  [[nodiscard]] double share() const {
    return inputs == 0 ? 0 : static_cast<double>(flipped) / static_cast<double>(inputs);
  }
};
Flips measure_flips(const Answers& source, const Answers& quantized, bool multi_label);

// How well the order of neighbours is kept. Every query ranks candidates in both models.
struct Ranks {
  std::size_t queries = 0;
  double first_kept = 0;  // share of queries whose best candidate is the same, or as good
  double ten_kept = 0;    // mean share of the ten best that are among the ten best still
  double spearman = 0;    // mean rank correlation over all candidates
};
// Embeddings: up to `queries_max` inputs, drawn by `seed`, rank all others by cosine. A best
// candidate that the source finds within kAsGood of its own best is as good.
inline constexpr double kAsGood = 0.01;
Ranks measure_ranks(const Answers& source, const Answers& quantized, std::size_t queries_max,
                    std::uint64_t seed);
// Rerank: scores of `group` candidates a query, one query after the other. Only the same is as
// good.
Ranks measure_rerank(std::span<const float> source, std::span<const float> quantized,
                     std::size_t group);

// One layer's weights before and after.
struct LayerDistance {
  std::string name;
  // |quantized - source| / |source|, Euclidean norms over all weights, and over the worst output's.
  double relative_error = 0;
  double worst_row_error = 0;
  // How far the model's answers move when this layer alone is quantized: 1 - mean cosine. Nothing
  // when that was not measured.
  std::optional<double> sensitivity = {};
};
// Weights are [outputs, inputs] with `columns` inputs. A row of zeros that stays so has no error;
// one that does not has infinite error.
LayerDistance measure_layer(std::string_view name, std::span<const float> source,
                            std::span<const float> quantized, std::size_t columns);
// Worst first: by sensitivity where measured, then by error, then by name.
void sort_worst_first(std::vector<LayerDistance>& layers);

// What was measured; parts that a model has no answer to are left out.
struct Evidence {
  std::size_t inputs = 0;
  std::optional<Distribution> cosine = {};
  std::optional<Flips> flips = {};
  std::optional<Ranks> ranks = {};
  std::vector<LayerDistance> layers = {};
};

// A number with two limits: better than `pass` passes, worse than `refuse` refuses, between the two
// is a warning.
struct Limit {
  double pass = 0;
  double refuse = 0;
};

struct Thresholds {
  std::size_t inputs_min = 1000;  // fewer refuse
  Limit cosine_p1{0.95, 0.90};    // at least
  Limit flips{0.01, 0.03};        // at most, share of inputs
  Limit first_kept{0.90, 0.75};   // at least, share of queries
  Limit spearman{0.95, 0.90};     // at least
  Limit layer_error{0.05, 0.15};  // at most, of every layer
  Limit row_error{0.25, 0.50};    // at most, of every layer's worst output
};

enum class Verdict : std::uint8_t { kPass, kWarn, kRefuse };
std::string_view verdict_name(Verdict verdict);  // "pass"

struct Judgement {
  Verdict verdict = Verdict::kPass;
  std::vector<std::string> reasons = {};  // a sentence for each limit that was not passed
};
// Evidence without a single measured answer is refused.
Judgement judge(const Evidence& evidence, const Thresholds& thresholds);

}  // namespace nacelle::quantize
