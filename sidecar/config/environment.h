// Settings from the environment.
#pragma once

#include <string_view>
#include <vector>

#include "sidecar/config/fields.h"
#include "sidecar/config/value.h"

namespace nacelle::config {

// The settings in `environment`, an environ. An empty variable counts as not set. A NACELLE_
// variable that is no option is a problem, unless it belongs to somebody else: see foreign().
std::vector<Setting> read_environment(const char* const* environment,
                                      const std::vector<Field>& fields, Problems& problems);

// Whether a NACELLE_ variable is not meant for nacelled: one of the project's own scripts and
// tests, or one that Kubernetes sets in every pod when a Service is called "nacelle" or
// "nacelle-something" (NACELLE_SERVICE_HOST, NACELLE_PORT_80_TCP_ADDR, ...).
bool foreign(std::string_view variable);

}  // namespace nacelle::config
