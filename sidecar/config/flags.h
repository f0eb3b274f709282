// Settings from the command line.
#pragma once

#include <vector>

#include "sidecar/config/fields.h"
#include "sidecar/config/value.h"

namespace nacelle::config {

// What the command line asks for besides settings: print something and leave.
enum class Action { kServe, kHelp, kVersion, kExplain, kOptionsMarkdown };

struct Flags {
  Action action = Action::kServe;
  std::vector<Setting> settings;
};

// --name=value and --name value for every option, --help (-h), --version, --explain and
// --print-options-markdown. Unknown flags, flags given twice and words that are no flags are
// problems.
Flags read_flags(int argc, const char* const* argv, const std::vector<Field>& fields,
                 Problems& problems);

}  // namespace nacelle::config
