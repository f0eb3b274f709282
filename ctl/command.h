// A command of nacellectl: ask the sidecar, print what it said, nothing else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
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
  // Options of its own, of those that run.cc knows; they come behind the arguments, "--last=5".
  std::span<const std::string_view> options = {};
  std::string_view summary;  // one line, lower case, without a full stop
  std::string_view help;     // sentences
  // `args` are the words behind the name. What is printed on an error is dropped.
  base::Status (*run)(std::span<const std::string_view> args, control::Client& sidecar,
                      Output& out) = nullptr;
  // Instead of run, for what needs no sidecar.
  base::Status (*run_alone)(std::span<const std::string_view> args, Output& out) = nullptr;
};

// The value of a word like "--last=5", when it is the option `name`; of "--once" an empty one.
inline std::optional<std::string_view> option_value(std::string_view word, std::string_view name) {
  if (!word.starts_with("--") || !word.substr(2).starts_with(name)) return std::nullopt;
  const std::string_view rest = word.substr(2 + name.size());
  if (rest.empty()) return rest;
  if (rest.front() != '=') return std::nullopt;
  return rest.substr(1);
}
// A number of digits only, at most a thousand million.
inline std::optional<std::uint64_t> whole_number(std::string_view text) {
  if (text.empty() || text.size() > 9) return std::nullopt;
  std::uint64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<std::uint64_t>(c - '0');
  }
  return value;
}

// THE LIST of commands, in the order of the help (commands/commands.cc).
std::span<const Command* const> all_commands();

}  // namespace nacelle::ctl
