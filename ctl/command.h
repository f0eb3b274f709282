// A command of nacellectl: ask the sidecar, print what it said, nothing else.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "ctl/output.h"
#include "sidecar/base/result.h"
#include "sidecar/control/api.h"

namespace nacelle::ctl {

struct Command {
  std::string_view name;          // one or more words: "config explain"
  std::string_view arguments;     // as the help shows them: "[OPTION]"
  std::size_t arguments_max = 0;  // more are refused before the sidecar is asked
  std::string_view summary;       // one line, lower case, without a full stop
  std::string_view help;          // sentences
  // `args` are the words behind the name. What is printed on an error is dropped.
  base::Status (*run)(std::span<const std::string_view> args, control::Client& sidecar,
                      Output& out) = nullptr;
  // Instead of run, for what needs no sidecar.
  base::Status (*run_alone)(std::span<const std::string_view> args, Output& out) = nullptr;
};

// THE LIST of commands, in the order of the help (commands/commands.cc).
std::span<const Command* const> all_commands();

}  // namespace nacelle::ctl
