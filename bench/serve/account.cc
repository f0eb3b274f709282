#include "bench/serve/account.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

namespace nacelle::bench::serve {
namespace {

using base::Nanos;
using Json = nlohmann::json;

constexpr double kSettledShare = 0.99;

void add_counts(std::span<const Record> records, Json& json) {
  std::array<std::uint64_t, static_cast<std::size_t>(Outcome::kFailed) + 1> counts{};
  std::uint64_t submitted = 0;
  std::uint64_t without_hint = 0;
  std::uint32_t least = UINT32_MAX;
  std::uint32_t most = 0;
  for (const Record& record : records) {
    if (record.outcome == Outcome::kUnused) continue;
    ++submitted;
    ++counts[static_cast<std::size_t>(record.outcome)];
    if (record.outcome != Outcome::kBusy) continue;
    without_hint += record.retry_after_us == 0 ? 1U : 0U;
    if (record.retry_after_us > 0) least = std::min(least, record.retry_after_us);
    most = std::max(most, record.retry_after_us);
  }
  const auto of = [&](Outcome outcome) { return counts[static_cast<std::size_t>(outcome)]; };
  json["submitted"] = submitted;
  json["ok"] = of(Outcome::kOk);
  json["busy"] = of(Outcome::kBusy);
  json["deadline"] = of(Outcome::kDeadline);
  json["cancelled"] = of(Outcome::kCancelled);
  json["failed"] = of(Outcome::kFailed);
  json["lost"] = of(Outcome::kLost);
  json["busy_without_hint"] = without_hint;
  json["retry_after_us"] = most > 0 ? Json{least, most} : Json::array();
}

double us(Nanos time) { return static_cast<double>(time) / 1e3; }

Json report_phase(const Load& load, std::span<const Record> records, std::size_t phase,
                  Nanos begin) {
  const Nanos length = load.phases[phase].duration;
  std::vector<Record> own;
  std::vector<Nanos> ok;
  std::vector<Nanos> busy;
  std::vector<Nanos> late;
  std::uint64_t answered = 0;  // during the phase, whenever they were due
  for (const Record& record : records) {
    if (record.outcome == Outcome::kOk && record.done >= begin && record.done < begin + length) {
      ++answered;
    }
    if (record.outcome == Outcome::kUnused || record.phase != phase) continue;
    own.push_back(record);
    if (record.outcome == Outcome::kOk) ok.push_back(record.done - record.due);
    if (record.outcome == Outcome::kBusy) busy.push_back(record.done - record.sent);
    if (record.sent > 0) late.push_back(record.sent - record.due);
  }
  const double seconds = static_cast<double>(length) / 1e9;
  Json json;
  add_counts(own, json);
  json["seconds"] = seconds;
  json["offered_per_s"] = static_cast<double>(own.size()) / seconds;
  json["ok_per_s"] = static_cast<double>(answered) / seconds;
  json["p50_us"] = us(percentile(ok, 0.5));
  json["p99_us"] = us(percentile(ok, 0.99));
  json["p999_us"] = us(percentile(ok, 0.999));
  json["max_us"] = us(percentile(ok, 1));
  json["busy_p50_us"] = us(percentile(busy, 0.5));
  json["busy_p99_us"] = us(percentile(busy, 0.99));
  json["busy_max_us"] = us(percentile(busy, 1));
  json["late_p99_us"] = us(percentile(late, 0.99));
  json["late_max_us"] = us(percentile(late, 1));
  return json;
}

}  // namespace

Nanos percentile(std::vector<Nanos>& values, double share) {
  if (values.empty()) return 0;
  const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(values.size())));
  const std::size_t index = std::clamp<std::size_t>(rank, 1, values.size()) - 1;
  const auto place = values.begin() + static_cast<std::ptrdiff_t>(index);
  std::nth_element(values.begin(), place, values.end());
  return *place;
}

std::vector<std::uint32_t> goodput(const Load& load, std::span<const Record> records) {
  const Nanos end = load.duration();
  std::vector<std::uint32_t> buckets(static_cast<std::size_t>((end + kBucket - 1) / kBucket));
  for (const Record& record : records) {
    if (record.outcome != Outcome::kOk || record.done < 0 || record.done >= end) continue;
    ++buckets[static_cast<std::size_t>(record.done / kBucket)];
  }
  return buckets;
}

Nanos settled_after(std::span<const Record> records, Nanos begin, Nanos end, Nanos limit) {
  std::vector<std::pair<Nanos, bool>> asked;  // when it was due, and whether that went badly
  for (const Record& record : records) {
    if (record.outcome == Outcome::kUnused || record.outcome == Outcome::kCancelled) continue;
    if (record.due < begin || record.due >= end) continue;
    const bool slow = record.outcome != Outcome::kOk || record.done - record.due > limit;
    asked.emplace_back(record.due, slow);
  }
  std::sort(asked.begin(), asked.end());
  // From the last one backwards: the earliest from which on enough were quick.
  Nanos settled = -1;
  std::size_t quick = 0;
  for (std::size_t i = asked.size(); i-- > 0;) {
    quick += asked[i].second ? 0U : 1U;
    const auto seen = static_cast<double>(asked.size() - i);
    if (static_cast<double>(quick) >= kSettledShare * seen) settled = asked[i].first - begin;
  }
  return settled;
}

Json report(const Load& load, std::span<const Record> records) {
  Json json;
  add_counts(records, json);
  Nanos begin = 0;
  Nanos limit = 0;
  for (std::size_t i = 0; i < load.phases.size(); ++i) {
    Json phase = report_phase(load, records, i, begin);
    if (i == 0) limit = static_cast<Nanos>(2e3 * phase["p99_us"].get<double>());
    const Nanos end = begin + load.phases[i].duration;
    const Nanos settled = settled_after(records, begin, end, limit);
    phase["settled_ms"] = settled < 0 ? Json() : Json(static_cast<double>(settled) / 1e6);
    json["phases"].push_back(std::move(phase));
    begin = end;
  }
  json["ok_10ms"] = goodput(load, records);
  return json;
}

}  // namespace nacelle::bench::serve
