#include "sidecar/token_budget.h"

#include <algorithm>

namespace nacelle::sidecar {
namespace {

constexpr int kRuns = 3;  // of each size; the fastest counts, as others use the machine, too
constexpr double kKneeShare = 0.95;
constexpr std::uint64_t kGiB = 1ULL << 30;
constexpr std::uint32_t kSequenceTokens = 32;  // of the texts that are measured

double throughput(const ThroughputPoint& point) {
  return static_cast<double>(point.tokens) /
         static_cast<double>(std::max<base::Nanos>(point.time, 1));
}

}  // namespace

base::Result<std::vector<ThroughputPoint>> sweep(
    base::Nanos time_max, const std::function<base::Result<base::Nanos>(std::uint32_t)>& run) {
  std::vector<ThroughputPoint> curve;
  if (time_max == 0) return curve;
  base::Nanos spent = 0;
  for (std::uint32_t tokens = kSweepFirst; tokens <= kSweepLast; tokens *= 2) {
    // Twice the tokens take at most about twice the time: attention grows with a text's length, and
    // that stays the same.
    const base::Nanos expected = curve.empty() ? 0 : curve.back().time * 2 * kRuns;
    if (!curve.empty() && spent + expected > time_max) break;
    ThroughputPoint point{.tokens = tokens, .time = base::kNever};
    for (int i = 0; i < kRuns; ++i) {
      if (i > 0 && spent >= time_max) break;  // a model that is slower than all of the time
      const base::Result<base::Nanos> time = run(tokens);
      if (!time) return time.error();
      spent += *time;
      point.time = std::min(point.time, *time);
    }
    curve.push_back(point);
  }
  return curve;
}

base::Result<std::vector<ThroughputPoint>> measure(model::Model& model, base::Nanos time_max) {
  const model::Info& info = model.info();
  const model::Task task =
      info.can(model::Task::kEmbed) ? model::Task::kEmbed : model::Task::kClassify;
  const std::uint32_t length = std::min(kSequenceTokens, info.tokens_max);
  // Any ids do, as long as the model has them.
  const auto words = model.tokenizer().encode("The quick brown fox jumps over the lazy dog.", 512);
  if (!words) return words.error();
  if (words->ids.empty()) return std::vector<ThroughputPoint>();

  std::vector<std::uint32_t> ids;
  for (std::uint32_t i = 0; i < kSweepLast; ++i) ids.push_back(words->ids[i % words->ids.size()]);
  const std::vector<std::uint32_t> types(kSweepLast, 0);
  std::vector<float> numbers(std::size_t{kSweepLast} / length * info.row_width(task));
  return sweep(time_max, [&](std::uint32_t tokens) -> base::Result<base::Nanos> {
    std::vector<std::uint32_t> offsets = {0};
    std::vector<float*> rows;
    while (offsets.back() + length <= tokens) {
      rows.push_back(numbers.data() + rows.size() * info.row_width(task));
      offsets.push_back(offsets.back() + length);
    }
    const base::Nanos start = base::now_ns();
    const base::Status done = model.run(task,
                                        {.ids = std::span(ids).first(offsets.back()),
                                         .types = std::span(types).first(offsets.back()),
                                         .offsets = offsets},
                                        rows);
    if (!done) return done.error();
    return base::now_ns() - start;
  });
}

std::uint32_t knee(std::span<const ThroughputPoint> curve) {
  double best = 0;
  for (const ThroughputPoint& point : curve) best = std::max(best, throughput(point));
  for (const ThroughputPoint& point : curve) {
    if (throughput(point) >= kKneeShare * best) return point.tokens;
  }
  return 0;
}

base::Nanos token_ns(std::span<const ThroughputPoint> curve) {
  return std::max<base::Nanos>(1, curve.back().time / curve.back().tokens);
}

std::uint32_t by_free_memory(std::uint32_t cap, std::uint64_t free_bytes) {
  if (free_bytes < kGiB) return std::max(1U, cap / 4);
  if (free_bytes < 2 * kGiB) return std::max(1U, cap / 2);
  return cap;
}

std::uint64_t bytes_per_token(const model::Model& model) {
  const model::Info& info = model.info();
  const std::uint64_t width =
      std::max(info.row_width(model::Task::kEmbed), info.row_width(model::Task::kClassify));
  constexpr std::uint64_t kIds = 4 * sizeof(std::uint32_t);  // ids and types, twice
  constexpr std::uint64_t kSequence = 2 * sizeof(std::uint32_t) + sizeof(float*);
  return kIds + kSequence + width * sizeof(float);
}

std::uint64_t tokens_that_fit(std::uint64_t free_bytes, std::uint64_t bytes_per_token) {
  return free_bytes / 2 / bytes_per_token;
}

std::uint32_t token_budget(const BudgetInputs& in) {
  std::uint64_t budget = by_free_memory(kBatchTokensDefault, in.free_bytes);
  if (!in.curve.empty()) {
    const auto work = static_cast<std::uint64_t>(kBatchWorkMin / token_ns(in.curve));
    budget = std::max<std::uint64_t>(knee(in.curve), std::min<std::uint64_t>(work, kSweepLast));
  }
  budget = std::min(budget, tokens_that_fit(in.free_bytes, in.bytes_per_token));
  if (in.latency_target > 0 && !in.curve.empty()) {
    const base::Nanos in_time = in.latency_target / 2 / token_ns(in.curve);
    budget = std::min(budget, static_cast<std::uint64_t>(in_time));
  }
  return std::max(static_cast<std::uint32_t>(budget), in.tokens_min);
}

}  // namespace nacelle::sidecar
