// The services of this sidecar: a model under the name that clients call it by.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/kernels.h"
#include "shm/shm.h"
#include "sidecar/base/result.h"
#include "sidecar/config.h"
#include "sidecar/counters.h"
#include "sidecar/model/model.h"

namespace nacelle::sidecar {

// The special tokens that a tokenizer puts around one text: how many come before it. Those behind
// are the rest of tokenizer::special_tokens().
struct Frame {
  std::uint32_t before = 0;
};

struct LoadedService {
  std::string name;
  std::string directory;
  std::unique_ptr<model::Model> model;
  // Nothing: the tokenizer's special tokens depend on the text, and it cannot be cut into windows.
  std::optional<Frame> frame;
  std::vector<Prompt> prompts;
  std::string prompt_default;                             // the text itself
  shm::LongInput long_input = shm::LongInput::kTruncate;  // never kService
  ServicePolicy policy;            // its deadline_ms and cache_ttl_s are never 0
  std::uint32_t batch_tokens = 0;  // that a batch of it should hold (token_budget.h)
  // Of all that decides its answers, besides what a request says: equal where they are equal.
  std::array<std::byte, 32> answers_digest{};
  ServiceCounters counters;

  // Whether it answers this op, which is one about texts.
  [[nodiscard]] bool answers(shm::Op op) const;
};

// What requests of the service that do not say do with the cache.
shm::CacheMode cache_mode(const LoadedService& service);

// Where a tokenizer puts a text among its special tokens, as its answers show.
std::optional<Frame> frame_of(const tokenizer::Tokenizer& tokenizer);

// Fixed after start: a client's handle is an index into it.
class Services {
 public:
  // Loads every service of the config, and measures it when the config says so. `backend` outlives
  // the result. Errors name the service; kUnavailable when memory runs out.
  static base::Result<Services> load(const Config& config, kernels::Backend& backend);

  [[nodiscard]] std::size_t size() const { return list_.size(); }
  [[nodiscard]] LoadedService& at(std::size_t index) const { return *list_[index]; }
  // The index of a service, or kNotFound with the names there are.
  [[nodiscard]] base::Result<std::uint32_t> find(std::string_view name) const;
  // The most tokens that one text of any service can have.
  [[nodiscard]] std::uint32_t tokens_max() const;
  // What scheduler.batch_tokens_max is at "auto": the largest batch_tokens of any service, and the
  // smallest when any has a latency target, as its requests wait for the others' batches.
  [[nodiscard]] std::uint32_t batch_tokens_max() const;
  // That a batch of any service may hold with so much memory left; at least 1.
  [[nodiscard]] std::uint32_t batch_tokens_that_fit(std::uint64_t free_bytes) const;

 private:
  static base::Result<Services> load_each(const Config& config, kernels::Backend& backend);
  base::Status plan_batches(const Config& config);

  std::vector<std::unique_ptr<LoadedService>> list_;
};

}  // namespace nacelle::sidecar
