#include "sidecar/config/flags.h"

#include <algorithm>
#include <boost/program_options.hpp>
#include <string>
#include <utility>

#include "sidecar/base/suggest.h"

namespace nacelle::config {
namespace {

namespace po = boost::program_options;

constexpr std::pair<std::string_view, Action> kActions[] = {
    {"help", Action::kHelp},
    {"version", Action::kVersion},
    {"explain", Action::kExplain},
    {"print-options-markdown", Action::kOptionsMarkdown},
};

}  // namespace

Flags read_flags(int argc, const char* const* argv, const std::vector<Field>& fields,
                 Problems& problems) {
  std::vector<std::string> names;
  po::options_description known;
  for (const Field& field : fields) {
    names.emplace_back(field.name);
    known.add_options()(names.back().c_str(), po::value<std::string>());
  }
  for (const auto& [name, action] : kActions) {
    names.emplace_back(name);
    known.add_options()(action == Action::kHelp ? "help,h" : names.back().c_str(), "");
  }

  namespace style = po::command_line_style;
  po::parsed_options parsed(nullptr);
  try {
    // Without guessing: --sock must not mean --socket, or a new option would break old scripts.
    parsed = po::command_line_parser(argc, argv)
                 .options(known)
                 .style(style::unix_style & ~style::allow_guessing & ~style::allow_sticky)
                 .allow_unregistered()
                 .run();
  } catch (const po::error& problem) {
    problems.add(std::string("command line: ") + problem.what());
    return {};
  }

  Flags flags;
  std::vector<std::string> seen;
  for (const po::option& option : parsed.options) {
    if (option.string_key.empty()) {
      problems.add("command line: " +
                   quoted(option.original_tokens.empty() ? "" : option.original_tokens.front()) +
                   " is no flag; options are written --name=value");
      continue;
    }
    if (option.unregistered) {
      const std::string flag = option.original_tokens.front();
      const std::string name = option.string_key;
      const std::optional<std::string> near = base::suggest(name, names);
      problems.add("command line: unknown flag " + quoted(flag.substr(0, flag.find('='))) +
                   (near ? "; did you mean \"--" + *near + "\"?" : "; see nacelled --help"));
      continue;
    }
    const auto* action = std::find_if(std::begin(kActions), std::end(kActions),
                                      [&](const auto& a) { return a.first == option.string_key; });
    if (action != std::end(kActions)) {
      flags.action = action->second;
      continue;
    }
    if (std::find(seen.begin(), seen.end(), option.string_key) != seen.end()) {
      problems.add("command line: --" + option.string_key + " is given twice; keep one");
      continue;
    }
    seen.push_back(option.string_key);
    flags.settings.push_back({option.string_key, option.value.empty() ? "" : option.value.front(),
                              "--" + option.string_key});
  }
  return flags;
}

}  // namespace nacelle::config
