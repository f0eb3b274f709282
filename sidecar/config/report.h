// The options as text: for --help, --explain and docs/OPTIONS.md.
#pragma once

#include <string>
#include <vector>

#include "sidecar/config.h"

namespace nacelle::config {

std::string help_text(const std::vector<sidecar::Option>& options);
std::string version_text();
// name, value and source of every option, aligned.
std::string explain_text(const std::vector<sidecar::Option>& options);
// The whole of docs/OPTIONS.md. Depends on the list of options only, not on their values.
std::string options_markdown(const std::vector<sidecar::Option>& options);

}  // namespace nacelle::config
