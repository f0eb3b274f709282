// THE LIST of backends, best first, and the choice among them by name.
#include "kernels/cpu/cpu.h"
#include "kernels/kernels.h"
#include "kernels/reference/reference.h"

namespace nacelle::kernels {
namespace {

std::span<const std::string_view> no_targets() { return {}; }

constexpr BackendEntry kBackends[] = {
    {.name = "cpu", .create = cpu::create, .targets = cpu::usable_targets},
    {.name = "reference", .create = reference::create, .targets = no_targets},
};

std::string names() {
  std::string text;
  for (const BackendEntry& entry : kBackends) {
    text += std::string(entry.name) + ", ";
    for (const std::string_view target : entry.targets()) {
      text += std::string(entry.name) + "/" + std::string(target) + ", ";
    }
  }
  return text + "auto";
}

}  // namespace

std::span<const BackendEntry> all_backends() { return kBackends; }

base::Result<std::unique_ptr<Backend>> create_backend(std::string_view name, unsigned threads) {
  if (name == "auto") {
    base::Error why{base::Code::kUnavailable, "no backend works here"};
    for (const BackendEntry& entry : kBackends) {
      auto backend = entry.create({.threads = threads, .target = ""});
      if (backend) return backend;
      why.message += "; " + std::string(entry.name) + ": " + backend.error().message;
    }
    return why;
  }

  const std::size_t slash = name.find('/');
  const std::string_view backend = name.substr(0, slash);
  const std::string_view target =
      slash == std::string_view::npos ? std::string_view{} : name.substr(slash + 1);
  for (const BackendEntry& entry : kBackends) {
    // "cpu/" names no target: it is a typing error, not a wish for the best.
    if (entry.name != backend || (slash != std::string_view::npos && target.empty())) continue;
    return entry.create({.threads = threads, .target = std::string(target)});
  }
  return base::Error{base::Code::kNotFound, "there is no kernel backend \"" + std::string(name) +
                                                "\": this machine has " + names()};
}

}  // namespace nacelle::kernels
