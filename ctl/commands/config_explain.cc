// nacellectl config explain: which value has each option, and who set it?
#include <nlohmann/json.hpp>

#include "ctl/command.h"

namespace nacelle::ctl {
namespace {

std::string value_with_unit(const std::string& value, const std::string& unit) {
  if (value.empty()) return "none";
  // "auto" has no unit.
  const bool is_number = value.find_first_not_of("0123456789") == std::string::npos;
  return unit.empty() || !is_number ? value : value + " " + unit;
}

void print_one(const sidecar::Option& option, Output& out) {
  out.heading(option.name);
  out.row("value", value_with_unit(option.value, option.unit));
  out.row("set by", option.source);
  out.row("default", value_with_unit(option.default_value, option.unit));
  out.row("type", option.type + (option.bounds.empty() ? "" : ": " + option.bounds));
  out.row("flag", option.flag + "=");
  out.row("environment", option.environment);
  out.line("");
  out.line(option.help);
}

void print_all(const std::vector<sidecar::Option>& options, Output& out) {
  std::vector<std::vector<std::string>> rows;
  for (const sidecar::Option& option : options) {
    rows.push_back({option.name, value_with_unit(option.value, option.unit), option.source});
  }
  out.table({{"option"}, {"value"}, {"set by"}}, rows);
}

base::Status run(std::span<const std::string_view> args, control::Client& sidecar, Output& out) {
  const auto options = sidecar.options(args.empty() ? std::string_view() : args.front());
  if (!options) return options.error();
  if (out.wants_json()) {
    nlohmann::json list = nlohmann::json::array();
    for (const sidecar::Option& option : *options) list.push_back(control::to_json(option));
    out.json({{"options", std::move(list)}});
    return base::ok();
  }
  if (args.empty()) {
    print_all(*options, out);
  } else {
    for (const sidecar::Option& option : *options) print_one(option, out);
  }
  return base::ok();
}

}  // namespace

extern const Command kConfigExplain{
    .name = "config explain",
    .arguments = "[OPTION]",
    .arguments_max = 1,
    .summary = "show every option's value and where it was set, or all about one",
    .help =
        "These are the values that the running sidecar uses: it read its file, environment and\n"
        "flags once, at start. \"nacelled --explain\" shows what a start would use now.",
    .run = run,
};

}  // namespace nacelle::ctl
