#include "sidecar/config/environment.h"

#include <algorithm>
#include <string>

#include "sidecar/base/suggest.h"

namespace nacelle::config {
namespace {

constexpr std::string_view kPrefix = "NACELLE_";

// Read by `run`, the demo, the Python package and the tests, which may start nacelled with their
// own environment.
constexpr std::string_view kOurs[] = {"NACELLE_ASSETS",     "NACELLE_BUILD",
                                      "NACELLE_DEMO_MODEL", "NACELLE_DEMO_ROUNDS",
                                      "NACELLE_LIBRARY",    "NACELLE_PYTHON"};

// Takes `ending` off the end of `text`; false when it ends otherwise.
bool strip(std::string_view& text, std::string_view ending) {
  if (!text.ends_with(ending)) return false;
  text.remove_suffix(ending.size());
  return true;
}

// NAME_PORT_80_TCP, and the same with _PROTO or _ADDR behind it.
bool is_port_of_service(std::string_view text) {
  if (!strip(text, "_PROTO")) strip(text, "_ADDR");
  if (!strip(text, "_TCP") && !strip(text, "_UDP") && !strip(text, "_SCTP")) return false;
  const std::size_t last_letter = text.find_last_not_of("0123456789");
  return last_letter + 1 < text.size() && text.substr(0, last_letter + 1).ends_with("_PORT_");
}

}  // namespace

bool foreign(std::string_view variable) {
  if (std::find(std::begin(kOurs), std::end(kOurs), variable) != std::end(kOurs)) return true;
  // https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
  return variable.ends_with("_SERVICE_HOST") || variable.ends_with("_PORT") ||
         variable.find("_SERVICE_PORT_") != std::string_view::npos || is_port_of_service(variable);
}

std::vector<Setting> read_environment(const char* const* environment,
                                      const std::vector<Field>& fields, Problems& problems) {
  std::vector<std::string> names;
  for (const Field& field : fields) names.push_back(field.environment());

  std::vector<Setting> settings;
  for (; environment != nullptr && *environment != nullptr; ++environment) {
    const std::string_view entry = *environment;
    if (entry.substr(0, kPrefix.size()) != kPrefix) continue;
    const std::size_t equals = std::min(entry.find('='), entry.size());
    const std::string_view variable = entry.substr(0, equals);
    const std::string_view value = entry.substr(std::min(equals + 1, entry.size()));
    const auto found = std::find(names.begin(), names.end(), variable);
    if (found != names.end()) {
      if (value.empty()) continue;
      const Field& field = fields[static_cast<std::size_t>(found - names.begin())];
      settings.push_back({std::string(field.name), std::string(value), std::string(variable)});
    } else if (!foreign(variable)) {
      problems.add("unknown environment variable " + quoted(variable) +
                   base::did_you_mean(variable, names));
    }
  }
  return settings;
}

}  // namespace nacelle::config
