// How many tokens a batch should hold: the smallest of
//
//   what fits        half of the free memory, by what a batch takes per token
//   the knee         of the throughput curve: larger batches are hardly faster per token from
//   there;
//                    for models so fast that the rest of a batch counts, kBatchWorkMin of work
//   what is in time  two batches within the latency target: the one that a request finds running,
//                    and its own
//
// but no less than the longest text. Pure but for measure(), which runs a model and reads the
// clock.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "sidecar/base/result.h"
#include "sidecar/base/time.h"
#include "sidecar/model/model.h"

namespace nacelle::sidecar {

// The cap without a measurement, which free memory lowers (by_free_memory).
inline constexpr std::uint32_t kBatchTokensDefault = 4096;

// One size of batch, and the least time that one took.
struct ThroughputPoint {
  std::uint32_t tokens = 0;
  base::Nanos time = 0;
};

// Runs batches of kSweepFirst tokens, twice as many, and so on up to kSweepLast, each three times,
// while the next size promises to stay within `time_max` for all. The first size is always run when
// time_max > 0; nothing is at 0. `run` does one batch and returns its time.
inline constexpr std::uint32_t kSweepFirst = 64;
inline constexpr std::uint32_t kSweepLast = 4096;
base::Result<std::vector<ThroughputPoint>> sweep(
    base::Nanos time_max, const std::function<base::Result<base::Nanos>(std::uint32_t)>& run);

// The sweep of a real model, with short texts.
base::Result<std::vector<ThroughputPoint>> measure(model::Model& model, base::Nanos time_max);

// The smallest size with at least 95 % of the best tokens per second; 0 for an empty curve. When
// the sweep ran out of time on the rise, that is the largest size it got to.
std::uint32_t knee(std::span<const ThroughputPoint> curve);

// Nanoseconds per token of the largest size; the curve is not empty.
base::Nanos token_ns(std::span<const ThroughputPoint> curve);

// The rule of thumb where nothing is known but the free memory: below 1 GiB a quarter of `cap`,
// below 2 GiB half.
std::uint32_t by_free_memory(std::uint32_t cap, std::uint64_t free_bytes);

// Bytes that a token adds to a batch at most, besides the model's workspace, which is there since
// load: its ids in the request and in the batch, and a row when it is a text of its own.
std::uint64_t bytes_per_token(const model::Model& model);

// Tokens for which half of the free memory suffices. Bytes per token are at least 1.
std::uint64_t tokens_that_fit(std::uint64_t free_bytes, std::uint64_t bytes_per_token);

// What a batch costs beside the model (packing, publishing, waking) is some 100 us. Of this much
// work that is 5 %, as the knee's own loss.
inline constexpr base::Nanos kBatchWorkMin = 2 * base::kMillisecond;

struct BudgetInputs {
  std::span<const ThroughputPoint> curve = {};  // empty: not measured
  std::uint64_t free_bytes = UINT64_MAX;
  std::uint64_t bytes_per_token = 1;
  base::Nanos latency_target = 0;  // 0: none
  std::uint32_t tokens_min = 1;    // of the longest text
};
std::uint32_t token_budget(const BudgetInputs& in);

}  // namespace nacelle::sidecar
