#include "sidecar/config/environment.h"

#include <algorithm>
#include <regex>
#include <string>

#include "sidecar/base/suggest.h"

namespace nacelle::config {
namespace {

constexpr std::string_view kPrefix = "NACELLE_";

// Read by `run`, the demo and the tests, which start nacelled with their own environment.
constexpr std::string_view kOurs[] = {"NACELLE_ASSETS", "NACELLE_DEMO_MODEL"};

}  // namespace

bool foreign(std::string_view variable) {
  if (std::find(std::begin(kOurs), std::end(kOurs), variable) != std::end(kOurs)) return true;
  // https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
  static const std::regex kServiceLink(
      "NACELLE_(.*_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)"
      "(_PROTO|_PORT|_ADDR)?)?)");
  // std::regex recurses per character: keep hostile lengths away from it.
  constexpr std::size_t kNameMax = 256;
  return variable.size() <= kNameMax &&
         std::regex_match(variable.begin(), variable.end(), kServiceLink);
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
