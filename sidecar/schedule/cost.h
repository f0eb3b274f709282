// What batches cost, learnt from those that ran: a fixed time each, and a time per token.
//
// The line is fitted by least squares over the batches seen, each counting a little less with every
// later one, so it follows a device that becomes slower or faster. While all batches have about one
// size no line can be told from the points: then the fixed part is what it was, at first nothing.
#pragma once

#include <cstdint>

#include "sidecar/base/time.h"

namespace nacelle::sidecar {

class CostModel {
 public:
  // A batch of `tokens` has taken `time`.
  void learn(std::uint32_t tokens, base::Nanos time);
  // Whether enough batches ran for the rest to mean something.
  [[nodiscard]] bool known() const { return batches_ >= kBatchesMin; }

  [[nodiscard]] double fixed_ns() const { return fixed_ns_; }
  [[nodiscard]] double token_ns() const { return token_ns_; }
  [[nodiscard]] double predict_ns(std::uint64_t tokens) const {
    return fixed_ns_ + token_ns_ * static_cast<double>(tokens);
  }
  // The most tokens of a batch that is expected to take no longer than `time`; 0 when none would.
  [[nodiscard]] std::uint32_t tokens_within(base::Nanos time) const;
  // The fewest tokens of a batch whose tokens take this share of its time, or more.
  [[nodiscard]] std::uint32_t tokens_for_share(double share) const;

 private:
  static constexpr std::uint32_t kBatchesMin = 8;
  static constexpr double kKeep = 63.0 / 64;  // of earlier batches' weight, at each batch

  std::uint32_t batches_ = 0;  // up to kBatchesMin
  // Weighted sums: of 1, tokens, tokens^2, time, tokens * time.
  double weight_ = 0, tokens_ = 0, squares_ = 0, time_ = 0, products_ = 0;
  double fixed_ns_ = 0;
  // Until something ran: 20 us, of a small encoder on two cores.
  double token_ns_ = 20'000;
};

}  // namespace nacelle::sidecar
