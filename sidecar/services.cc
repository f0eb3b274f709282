#include "sidecar/services.h"

#include <algorithm>
#include <new>
#include <span>
#include <utility>

#include "shm/cache_key.h"
#include "sidecar/base/log.h"
#include "sidecar/base/memory.h"
#include "sidecar/base/time.h"
#include "sidecar/quantize/report.h"
#include "sidecar/store/store.h"
#include "sidecar/token_budget.h"

namespace nacelle::sidecar {
namespace {

shm::LongInput to_wire(LongInputDefault policy) {
  switch (policy) {
    case LongInputDefault::kTruncate:
      return shm::LongInput::kTruncate;
    case LongInputDefault::kReject:
      return shm::LongInput::kReject;
    case LongInputDefault::kChunkMean:
      return shm::LongInput::kChunkMean;
  }
  return shm::LongInput::kTruncate;
}

std::string_view precision_name(model::Precision precision) {
  return model::kPrecisionNames[static_cast<std::size_t>(precision)];
}

// The service's own, or that of all; both are words that the configuration has checked.
model::Precision precision_of(const Service& service, const Config& config) {
  const std::string_view word =
      service.precision == ServicePrecision::kDefault
          ? std::string_view(config.kernels.precision)
          : kServicePrecisionNames[static_cast<std::size_t>(service.precision)];
  for (std::size_t i = 0; i < model::kPrecisionNames.size(); ++i) {
    if (model::kPrecisionNames[i] == word) return static_cast<model::Precision>(i);
  }
  return model::Precision::kAuto;
}

// The model's own prompts and the service's, whose texts win; sorted by name.
base::Result<std::vector<Prompt>> prompts_of(const Service& service, const model::Info& info) {
  std::vector<Prompt> prompts = service.prompts;
  const auto is_called = [](const std::string& name) {
    return [&name](const Prompt& prompt) { return prompt.name == name; };
  };
  for (const auto& [name, text] : info.prompts) {
    if (std::ranges::any_of(prompts, is_called(name))) continue;
    if (name.size() > shm::kPromptBytesMax || text.size() > shm::kPromptBytesMax) {
      return base::Error{base::Code::kTooLarge,
                         "the model's prompt \"" + name.substr(0, 63) + "\" has " +
                             std::to_string(std::max(name.size(), text.size())) +
                             " bytes; the limit is " + std::to_string(shm::kPromptBytesMax) +
                             ": set another text for it in the service's prompts"};
    }
    prompts.push_back({name, text});
  }
  std::ranges::sort(prompts, {}, &Prompt::name);
  return prompts;
}

// Left out is what cannot change an answer: names, queues, threads, how large batches are (a text's
// result does not depend on its neighbours).
std::array<std::byte, 32> digest_of_answers(const LoadedService& service,
                                            const kernels::Backend& backend,
                                            std::uint32_t windows_max) {
  const model::Info& info = service.model->info();
  shm::PartsDigest digest;
  const auto add_number = [&digest](std::uint64_t number) {
    digest.add(std::as_bytes(std::span(&number, 1)));
  };
  digest.add("nacelle answers 1");
  digest.add(info.digest);  // weights, tokenizer, pooling, labels: every file that counts
  digest.add(info.architecture);
  digest.add(precision_name(info.precision));
  digest.add(backend.arithmetic());
  add_number(info.tokens_max);
  add_number(windows_max);
  add_number(static_cast<std::uint64_t>(service.long_input));
  digest.add(service.prompt_default);
  add_number(service.prompts.size());
  for (const Prompt& prompt : service.prompts) {
    digest.add(prompt.name);
    digest.add(prompt.text);
  }
  return digest.value();
}

}  // namespace

shm::CacheMode cache_mode(const LoadedService& service) {
  switch (service.policy.cache) {
    case ServiceCache::kUse:
      return shm::CacheMode::kUse;
    case ServiceCache::kOff:
      return shm::CacheMode::kBypass;
    case ServiceCache::kReadOnly:
      return shm::CacheMode::kReadOnly;
    case ServiceCache::kRefresh:
      return shm::CacheMode::kRefresh;
  }
  return shm::CacheMode::kBypass;
}

bool LoadedService::answers(shm::Op op) const {
  const model::Info& info = model->info();
  if (op == shm::Op::kEmbed) return info.can(model::Task::kEmbed);
  if (op == shm::Op::kClassify) return info.can(model::Task::kClassify);
  // A cross-encoder is a classifier of pairs with one label.
  return op == shm::Op::kRerank && info.reranks &&
         model->tokenizer().special_tokens_of_pair() < info.tokens_max;
}

std::optional<Frame> frame_of(const tokenizer::Tokenizer& tokenizer) {
  constexpr std::size_t kPlenty = 64;
  const auto empty = tokenizer.encode("", kPlenty);
  if (!empty || empty->ids.size() != tokenizer.special_tokens()) return std::nullopt;
  for (const char* probe : {"a", "0", "."}) {
    const auto some = tokenizer.encode(probe, kPlenty);
    if (!some || some->ids.size() <= empty->ids.size()) continue;
    const auto differs =
        std::mismatch(empty->ids.begin(), empty->ids.end(), some->ids.begin()).first;
    const auto behind = empty->ids.end() - differs;
    if (!std::equal(differs, empty->ids.end(), some->ids.end() - behind)) continue;
    return Frame{static_cast<std::uint32_t>(differs - empty->ids.begin())};
  }
  return std::nullopt;
}

base::Result<Services> Services::load(const Config& config, kernels::Backend& backend) {
  try {
    return load_each(config, backend);
  } catch (const std::bad_alloc&) {
    return base::Error{base::Code::kUnavailable, "out of memory"};
  }
}

base::Result<Services> Services::load_each(const Config& config, kernels::Backend& backend) {
  Services services;
  for (const Service& wanted : config.services) {
    const base::Nanos start = base::now_ns();
    const std::string doing = "loading service " + wanted.name;
    base::Result<std::string> directory = store::Store(config.models).find(wanted.model);
    if (!directory) return directory.error().in(doing);
    base::Result<std::unique_ptr<model::Model>> model = model::load(
        *directory, backend,
        {.precision = precision_of(wanted, config), .packed_folder = config.kernels.packed_folder});
    if (!model) return model.error().in(doing);
    const model::Info& info = (*model)->info();
    if (info.quantized) {
      const base::Status gate = quantize::check_gate(*directory, info.digest);
      if (!gate) return gate.error().in(doing);
    }
    base::log_info("service loaded", {{"service", wanted.name},
                                      {"model", *directory},
                                      {"architecture", info.architecture},
                                      {"parameters", info.parameters},
                                      {"precision", precision_name(info.precision)},
                                      {"digest", info.digest.substr(0, 12)},
                                      {"ms", (base::now_ns() - start) / base::kMillisecond}});
    auto loaded = std::make_unique<LoadedService>();
    loaded->name = wanted.name;
    loaded->directory = *std::move(directory);
    loaded->model = *std::move(model);
    loaded->frame = frame_of(loaded->model->tokenizer());
    base::Result<std::vector<Prompt>> prompts = prompts_of(wanted, loaded->model->info());
    if (!prompts) return prompts.error().in(doing);
    loaded->prompts = *std::move(prompts);
    const std::string& prompt_default = wanted.prompt_default.empty()
                                            ? loaded->model->info().default_prompt
                                            : wanted.prompt_default;
    bool found = prompt_default.empty();
    for (const Prompt& prompt : loaded->prompts) {
      if (prompt.name != prompt_default) continue;
      loaded->prompt_default = prompt.text;
      found = true;
    }
    if (!found) {
      return base::Error{base::Code::kInvalid, doing + ": prompt_default is \"" + prompt_default +
                                                   "\", which is a prompt of neither the service " +
                                                   "nor its model"};
    }
    loaded->long_input = to_wire(wanted.long_input);
    if (loaded->long_input == shm::LongInput::kChunkMean && !loaded->frame) {
      return base::Error{base::Code::kInvalid,
                         doing + ": long_input is chunk_mean, but the tokenizer's special tokens " +
                             "depend on the text, so it cannot be cut: set truncate or reject"};
    }
    loaded->policy = wanted.policy;
    if (loaded->policy.deadline_ms == 0) {
      loaded->policy.deadline_ms = config.scheduler.deadline_default_ms;
    }
    if (loaded->policy.cache_ttl_s == 0) loaded->policy.cache_ttl_s = config.cache.ttl_s;
    loaded->answers_digest = digest_of_answers(*loaded, backend, config.limits.windows_max);
    services.list_.push_back(std::move(loaded));
  }
  const std::uint32_t tokens_max = services.tokens_max();
  if (config.scheduler.batch_tokens_max > 0 && config.scheduler.batch_tokens_max < tokens_max) {
    return base::Error{base::Code::kInvalid, "scheduler.batch_tokens_max is " +
                                                 std::to_string(config.scheduler.batch_tokens_max) +
                                                 ", but one text can have " +
                                                 std::to_string(tokens_max) +
                                                 " tokens: set it to at least that"};
  }
  if (base::Status planned = services.plan_batches(config); !planned) return planned.error();
  return services;
}

// Fills batch_tokens of every service.
base::Status Services::plan_batches(const Config& config) {
  base::Nanos target = 0;  // the shortest of any service: its requests wait for all batches
  for (const auto& service : list_) {
    const base::Nanos own = service->policy.latency_target_ms * base::kMillisecond;
    if (own > 0 && (target == 0 || own < target)) target = own;
  }
  const bool is_automatic = config.scheduler.batch_tokens_max == 0;
  const std::uint64_t free_bytes = base::memory_use().available;
  for (const auto& service : list_) {
    if (!is_automatic) {
      service->batch_tokens = config.scheduler.batch_tokens_max;
      continue;
    }
    const base::Nanos start = base::now_ns();
    base::Result<std::vector<ThroughputPoint>> curve =
        measure(*service->model, config.scheduler.measure_ms * base::kMillisecond);
    if (!curve) return curve.error().in("measuring service " + service->name);
    service->batch_tokens = token_budget({.curve = *curve,
                                          .free_bytes = free_bytes,
                                          .bytes_per_token = bytes_per_token(*service->model),
                                          .latency_target = target,
                                          .tokens_min = tokens_max()});
    base::log_info("batches planned", {{"service", service->name},
                                       {"tokens", service->batch_tokens},
                                       {"knee", knee(*curve)},
                                       {"ns_per_token", curve->empty() ? 0 : token_ns(*curve)},
                                       {"free_mib", free_bytes >> 20U},
                                       {"ms", (base::now_ns() - start) / base::kMillisecond}});
  }
  return base::ok();
}

std::uint32_t Services::batch_tokens_max() const {
  std::uint32_t smallest = UINT32_MAX;
  std::uint32_t largest = 0;
  bool has_target = false;
  for (const auto& service : list_) {
    smallest = std::min(smallest, service->batch_tokens);
    largest = std::max(largest, service->batch_tokens);
    has_target |= service->policy.latency_target_ms > 0;
  }
  return has_target ? smallest : largest;
}

std::uint32_t Services::batch_tokens_that_fit(std::uint64_t free_bytes) const {
  std::uint64_t tokens = UINT32_MAX;
  for (const auto& service : list_) {
    tokens = std::min(tokens, tokens_that_fit(free_bytes, bytes_per_token(*service->model)));
  }
  return static_cast<std::uint32_t>(std::max<std::uint64_t>(tokens, 1));
}

base::Result<std::uint32_t> Services::find(std::string_view name) const {
  std::string names;
  for (std::size_t i = 0; i < list_.size(); ++i) {
    if (list_[i]->name == name) return static_cast<std::uint32_t>(i);
    names += (i == 0 ? "" : ", ") + list_[i]->name;
  }
  return base::Error{base::Code::kNotFound,
                     "no service \"" + std::string(name) + "\"; there are: " + names};
}

std::uint32_t Services::tokens_max() const {
  std::uint32_t most = 0;
  for (const auto& service : list_) most = std::max(most, service->model->info().tokens_max);
  return most;
}

}  // namespace nacelle::sidecar
