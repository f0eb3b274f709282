#include "sidecar/quantize/gate.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <random>

#include "sidecar/base/check.h"

namespace nacelle::quantize {
namespace {

constexpr std::size_t kTopMost = 10;

void check_alike(const Answers& a, const Answers& b) {
  CHECK(a.width == b.width && a.width > 0);
  CHECK(a.rows.size() == b.rows.size() && a.rows.size() % a.width == 0);
}

double dot(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += double{a[i]} * double{b[i]};
  return sum;
}

double cosine(std::span<const float> a, std::span<const float> b) {
  const double aa = dot(a, a);
  const double bb = dot(b, b);
  if (!std::isfinite(aa) || !std::isfinite(bb)) return -1;
  if (aa == 0 || bb == 0) return aa == bb ? 1 : 0;
  return std::clamp(dot(a, b) / std::sqrt(aa) / std::sqrt(bb), -1.0, 1.0);
}

Distribution distribution(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const auto rank = [&](double share) {
    const auto nth =
        static_cast<std::size_t>(std::ceil(share * static_cast<double>(values.size())));
    return values[std::max<std::size_t>(nth, 1) - 1];
  };
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  return {.least = values.front(),
          .p1 = rank(0.01),
          .p50 = rank(0.50),
          .mean = sum / static_cast<double>(values.size())};
}

std::size_t largest(std::span<const float> row) {
  return static_cast<std::size_t>(std::max_element(row.begin(), row.end()) - row.begin());
}

std::vector<double> probabilities(std::span<const float> logits, bool multi_label) {
  std::vector<double> p(logits.begin(), logits.end());
  if (multi_label) {
    for (double& x : p) x = 1 / (1 + std::exp(-x));
    return p;
  }
  const double most = *std::max_element(p.begin(), p.end());
  double sum = 0;
  for (double& x : p) sum += x = std::exp(x - most);
  for (double& x : p) x /= sum;
  return p;
}

// The candidates' indices, best score first; the lower index first among equals.
std::vector<std::size_t> order_of(std::span<const double> scores) {
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return scores[a] > scores[b]; });
  return order;
}

// Ranks from 1, equal scores sharing their mean rank.
std::vector<double> ranks_of(std::span<const double> scores, std::span<const std::size_t> order) {
  std::vector<double> ranks(scores.size());
  for (std::size_t first = 0; first < order.size();) {
    std::size_t end = first + 1;
    while (end < order.size() && scores[order[end]] == scores[order[first]]) ++end;
    const double mean = (static_cast<double>(first + 1) + static_cast<double>(end)) / 2;
    for (std::size_t i = first; i < end; ++i) ranks[order[i]] = mean;
    first = end;
  }
  return ranks;
}

// Pearson's correlation of the ranks: Spearman's with ties. Two constant lists agree.
double spearman(std::span<const double> a, std::span<const double> b) {
  const double mean = (static_cast<double>(a.size()) + 1) / 2;
  double ab = 0;
  double aa = 0;
  double bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - mean) * (b[i] - mean);
    aa += (a[i] - mean) * (a[i] - mean);
    bb += (b[i] - mean) * (b[i] - mean);
  }
  if (aa == 0 || bb == 0) return aa == bb ? 1 : 0;
  return ab / std::sqrt(aa * bb);
}

// Adds one query's candidates, scored by both models. NaN would have no place in an order: such a
// score is the worst.
void add_query(std::vector<double> source, std::vector<double> quantized, double as_good,
               Ranks& sums) {
  for (double& x : source) x = std::isnan(x) ? -HUGE_VAL : x;
  for (double& x : quantized) x = std::isnan(x) ? -HUGE_VAL : x;
  const std::vector<std::size_t> a = order_of(source);
  const std::vector<std::size_t> b = order_of(quantized);
  const std::size_t top = std::min(kTopMost, a.size());
  std::size_t kept = 0;
  for (std::size_t i = 0; i < top; ++i) {
    const auto end = b.begin() + static_cast<std::ptrdiff_t>(top);
    kept += std::find(b.begin(), end, a[i]) != end ? 1U : 0U;
  }
  sums.queries += 1;
  const bool kept_first = a.front() == b.front() || source[a[0]] - source[b[0]] < as_good;
  sums.first_kept += kept_first ? 1 : 0;
  sums.ten_kept += static_cast<double>(kept) / static_cast<double>(top);
  sums.spearman += spearman(ranks_of(source, a), ranks_of(quantized, b));
}

Ranks means(Ranks sums) {
  if (sums.queries == 0) return sums;
  const auto count = static_cast<double>(sums.queries);
  sums.first_kept /= count;
  sums.ten_kept /= count;
  sums.spearman /= count;
  return sums;
}

std::string number(double value) {
  char text[32];
  static_cast<void>(std::snprintf(text, sizeof text, "%.4g", value));
  return text;
}

// Collects what a judgement is made of.
class Judge {
 public:
  void at_least(const std::string& what, double value, const Limit& limit) {
    // Written so that NaN is refused.
    if (value >= limit.pass) return;
    add(value >= limit.refuse ? Verdict::kWarn : Verdict::kRefuse,
        what + " is " + number(value) + ", below " +
            number(value >= limit.refuse ? limit.pass : limit.refuse));
  }
  void at_most(const std::string& what, double value, const Limit& limit) {
    if (value <= limit.pass) return;
    add(value <= limit.refuse ? Verdict::kWarn : Verdict::kRefuse,
        what + " is " + number(value) + ", above " +
            number(value <= limit.refuse ? limit.pass : limit.refuse));
  }
  void add(Verdict verdict, std::string reason) {
    judgement_.verdict = std::max(judgement_.verdict, verdict);
    judgement_.reasons.push_back(std::move(reason));
  }
  [[nodiscard]] Judgement take() { return std::move(judgement_); }

 private:
  Judgement judgement_;
};

}  // namespace

Distribution measure_cosine(const Answers& source, const Answers& quantized) {
  check_alike(source, quantized);
  std::vector<double> cosines(source.inputs());
  for (std::size_t i = 0; i < cosines.size(); ++i) {
    cosines[i] = cosine(source.row(i), quantized.row(i));
  }
  return distribution(std::move(cosines));
}

Flips measure_flips(const Answers& source, const Answers& quantized, bool multi_label) {
  check_alike(source, quantized);
  Flips flips{.inputs = source.inputs()};
  for (std::size_t i = 0; i < flips.inputs; ++i) {
    const std::span<const float> a = source.row(i);
    const std::span<const float> b = quantized.row(i);
    bool flipped = !multi_label && largest(a) != largest(b);
    const std::vector<double> pa = probabilities(a, multi_label);
    const std::vector<double> pb = probabilities(b, multi_label);
    for (std::size_t label = 0; label < a.size(); ++label) {
      flipped |= !std::isfinite(b[label]);
      flipped |= multi_label && (a[label] > 0) != (b[label] > 0);
      const double moved = std::abs(pa[label] - pb[label]);
      flips.probability_moved = std::max(flips.probability_moved, std::isnan(moved) ? 1.0 : moved);
    }
    flips.flipped += flipped ? 1U : 0U;
  }
  return flips;
}

Ranks measure_ranks(const Answers& source, const Answers& quantized, std::size_t queries_max,
                    std::uint64_t seed) {
  check_alike(source, quantized);
  const std::size_t inputs = source.inputs();
  if (inputs < 2) return {};
  std::vector<std::size_t> queries(inputs);
  std::iota(queries.begin(), queries.end(), std::size_t{0});
  // Not std::shuffle: its result differs between libraries, and a report must not.
  std::mt19937_64 random(seed);
  const std::size_t count = std::min(queries_max, inputs);
  for (std::size_t i = 0; i < count; ++i) {
    std::swap(queries[i], queries[i + random() % (inputs - i)]);
  }
  Ranks sums;
  for (std::size_t i = 0; i < count; ++i) {
    std::vector<double> a;
    std::vector<double> b;
    for (std::size_t candidate = 0; candidate < inputs; ++candidate) {
      if (candidate == queries[i]) continue;
      a.push_back(cosine(source.row(queries[i]), source.row(candidate)));
      b.push_back(cosine(quantized.row(queries[i]), quantized.row(candidate)));
    }
    add_query(std::move(a), std::move(b), kAsGood, sums);
  }
  return means(sums);
}

Ranks measure_rerank(std::span<const float> source, std::span<const float> quantized,
                     std::size_t group) {
  CHECK(group > 0 && source.size() == quantized.size() && source.size() % group == 0);
  Ranks sums;
  for (std::size_t first = 0; first < source.size(); first += group) {
    const auto a = source.subspan(first, group);
    const auto b = quantized.subspan(first, group);
    add_query({a.begin(), a.end()}, {b.begin(), b.end()}, 0, sums);
  }
  return means(sums);
}

LayerDistance measure_layer(std::string_view name, std::span<const float> source,
                            std::span<const float> quantized, std::size_t columns) {
  CHECK(columns > 0 && source.size() == quantized.size() && source.size() % columns == 0);
  // NaN, which has no order, is as bad as infinity.
  const auto relative = [](double error, double norm) {
    return error == 0 ? 0 : std::isnan(error) ? HUGE_VAL : std::sqrt(error / norm);
  };
  LayerDistance layer{.name = std::string(name)};
  double error = 0;
  double norm = 0;
  for (std::size_t row = 0; row < source.size(); row += columns) {
    double row_error = 0;
    double row_norm = 0;
    for (std::size_t i = row; i < row + columns; ++i) {
      const double difference = double{quantized[i]} - double{source[i]};
      row_error += difference * difference;
      row_norm += double{source[i]} * double{source[i]};
    }
    layer.worst_row_error = std::max(layer.worst_row_error, relative(row_error, row_norm));
    error += row_error;
    norm += row_norm;
  }
  layer.relative_error = relative(error, norm);
  return layer;
}

void sort_worst_first(std::vector<LayerDistance>& layers) {
  std::sort(layers.begin(), layers.end(), [](const LayerDistance& a, const LayerDistance& b) {
    const double sa = a.sensitivity.value_or(-1);
    const double sb = b.sensitivity.value_or(-1);
    if (sa != sb) return sa > sb;
    const double ra = a.worst_row_error;
    const double rb = b.worst_row_error;
    const double ea = a.relative_error;
    const double eb = b.relative_error;
    if (ea != eb) return ea > eb;
    return ra != rb ? ra > rb : a.name < b.name;
  });
}

std::string_view verdict_name(Verdict verdict) {
  switch (verdict) {
    case Verdict::kPass:
      return "pass";
    case Verdict::kWarn:
      return "warn";
    case Verdict::kRefuse:
      return "refuse";
  }
  return "refuse";
}

Judgement judge(const Evidence& evidence, const Thresholds& thresholds) {
  Judge judge;
  if (evidence.inputs < thresholds.inputs_min) {
    judge.add(Verdict::kRefuse, "measured on " + std::to_string(evidence.inputs) +
                                    " inputs, at least " + std::to_string(thresholds.inputs_min) +
                                    " are needed");
  }
  if (!evidence.cosine && !evidence.flips && !evidence.ranks) {
    judge.add(Verdict::kRefuse, "no answers were compared");
  }
  if (evidence.cosine) judge.at_least("cosine p1", evidence.cosine->p1, thresholds.cosine_p1);
  if (evidence.flips) {
    judge.at_most("the share of flipped labels", evidence.flips->share(), thresholds.flips);
  }
  if (evidence.ranks) {
    judge.at_least("the share of queries that keep their best candidate",
                   evidence.ranks->first_kept, thresholds.first_kept);
    judge.at_least("the rank correlation", evidence.ranks->spearman, thresholds.spearman);
  }
  for (const LayerDistance& layer : evidence.layers) {
    judge.at_most("the relative error of " + layer.name, layer.relative_error,
                  thresholds.layer_error);
    judge.at_most("the relative error of the worst output of " + layer.name, layer.worst_row_error,
                  thresholds.row_error);
  }
  return judge.take();
}

}  // namespace nacelle::quantize
