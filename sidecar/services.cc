#include "sidecar/services.h"

#include <algorithm>
#include <utility>

#include "sidecar/base/log.h"
#include "sidecar/base/time.h"
#include "sidecar/store/store.h"

namespace nacelle::sidecar {

base::Result<Services> Services::load(const Config& config, kernels::Backend& backend) {
  Services services;
  for (const Service& wanted : config.services) {
    const base::Nanos start = base::now_ns();
    const std::string doing = "loading service " + wanted.name;
    base::Result<std::string> directory = store::Store(config.models).find(wanted.model);
    if (!directory) return directory.error().in(doing);
    base::Result<std::unique_ptr<model::Model>> model = model::load(*directory, backend);
    if (!model) return model.error().in(doing);
    const model::Info& info = (*model)->info();
    base::log_info("service loaded", {{"service", wanted.name},
                                      {"model", *directory},
                                      {"architecture", info.architecture},
                                      {"parameters", info.parameters},
                                      {"digest", info.digest.substr(0, 12)},
                                      {"ms", (base::now_ns() - start) / base::kMillisecond}});
    auto loaded = std::make_unique<LoadedService>();
    loaded->name = wanted.name;
    loaded->directory = *std::move(directory);
    loaded->model = *std::move(model);
    services.list_.push_back(std::move(loaded));
  }
  const std::uint32_t tokens_max = services.tokens_max();
  if (config.scheduler.batch_tokens_max < tokens_max) {
    return base::Error{base::Code::kInvalid, "scheduler.batch_tokens_max is " +
                                                 std::to_string(config.scheduler.batch_tokens_max) +
                                                 ", but one text can have " +
                                                 std::to_string(tokens_max) +
                                                 " tokens: set it to at least that"};
  }
  return services;
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
