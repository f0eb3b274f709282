// See cost.h.
#include "sidecar/schedule/cost.h"

#include <algorithm>

namespace nacelle::sidecar {
namespace {

// Sizes that differ by less than this, relative to their mean, are one size.
constexpr double kSpreadMin = 0.05;

std::uint32_t to_tokens(double tokens) {
  return static_cast<std::uint32_t>(std::clamp(tokens, 0.0, double{UINT32_MAX}));
}

}  // namespace

void CostModel::learn(std::uint32_t tokens, base::Nanos time) {
  const double x = tokens;
  const auto y = static_cast<double>(std::max<base::Nanos>(time, 1));
  for (double* sum : {&weight_, &tokens_, &squares_, &time_, &products_}) *sum *= kKeep;
  weight_ += 1;
  tokens_ += x;
  squares_ += x * x;
  time_ += y;
  products_ += x * y;
  batches_ = std::min(batches_ + 1, kBatchesMin);

  const double mean = tokens_ / weight_;
  const double variance = squares_ / weight_ - mean * mean;
  const double through_zero = time_ / std::max(tokens_, 1.0);
  if (variance < kSpreadMin * kSpreadMin * mean * mean) {
    // What the last line said of the two, for what batches take now.
    const double fixed_tokens = fixed_ns_ / std::max(token_ns_, 1e-3);
    token_ns_ = time_ / weight_ / std::max(mean + fixed_tokens, 1.0);
    fixed_ns_ = fixed_tokens * token_ns_;
    return;
  }
  const double slope = (products_ / weight_ - mean * time_ / weight_) / variance;
  // No batch has a negative fixed cost, and a larger one never costs less.
  token_ns_ = std::clamp(slope, 0.0, through_zero);
  fixed_ns_ = std::max(time_ / weight_ - token_ns_ * mean, 0.0);
}

std::uint32_t CostModel::tokens_within(base::Nanos time) const {
  const double left = static_cast<double>(time) - fixed_ns_;
  return left <= 0 ? 0 : to_tokens(left / std::max(token_ns_, 1e-3));
}

std::uint32_t CostModel::tokens_for_share(double share) const {
  return to_tokens(fixed_ns_ / std::max(token_ns_, 1e-3) * share / (1 - share));
}

}  // namespace nacelle::sidecar
