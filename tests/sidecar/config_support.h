// Loads a configuration from what a test writes down: flags, variables, a YAML file.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "sidecar/config.h"
#include "tests/support/temp_dir.h"

namespace nacelle::sidecar {

struct Written {
  std::vector<std::string> flags = {};
  std::vector<std::string> environment = {};
  std::string yaml = "";  // empty: no file
};

inline base::Result<LoadedConfig> load(Written written) {
  const testing::TempDir folder;
  if (!written.yaml.empty()) {
    written.flags.insert(written.flags.begin(), "--config=" + folder.write("n.yaml", written.yaml));
  }
  std::vector<const char*> argv = {"nacelled"};
  for (const std::string& flag : written.flags) argv.push_back(flag.c_str());
  argv.push_back(nullptr);
  std::vector<const char*> environment;
  for (const std::string& variable : written.environment) environment.push_back(variable.c_str());
  environment.push_back(nullptr);
  return load_config(static_cast<int>(argv.size()) - 1, argv.data(), environment.data());
}

// The same, with a service, for tests that are not about services.
inline base::Result<LoadedConfig> load_served(Written written) {
  written.environment.emplace_back("NACELLE_SERVICES=any=/models/any");
  return load(std::move(written));
}

// The whole complaint; "" when there is none.
inline std::string complaint(const base::Result<LoadedConfig>& loaded) {
  return loaded ? "" : loaded.error().message;
}

inline Option option(const LoadedConfig& loaded, std::string_view name) {
  const auto found = std::find_if(loaded.options.begin(), loaded.options.end(),
                                  [&](const Option& o) { return o.name == name; });
  if (found != loaded.options.end()) return *found;
  ADD_FAILURE() << "no option " << name;
  return {};
}

}  // namespace nacelle::sidecar
