#include "sidecar/config/report.h"

#include <algorithm>
#include <string_view>

#include "sidecar/config/fields.h"
#include "sidecar/config/value.h"

namespace nacelle::config {
namespace {

constexpr std::size_t kColumns = 100;

// `text` broken between words into lines of at most kColumns, each behind `indent` spaces.
std::string wrapped(std::string_view text, std::size_t indent) {
  const std::string margin(indent, ' ');
  std::string out;
  std::size_t column = 0;
  while (!text.empty()) {
    const std::size_t space = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, space);
    text.remove_prefix(std::min(space + 1, text.size()));
    if (column != 0 && column + 1 + word.size() > kColumns) {
      out += '\n';
      column = 0;
    }
    const std::string before = column == 0 ? margin : " ";
    out += before;
    out += word;
    column += before.size() + word.size();
  }
  return out + "\n";
}

// The keys of a service, as a table.
std::string service_keys_markdown() {
  Service untouched;
  std::string text =
      "\nThe keys of a service, in YAML, besides `model`, `prompts` and `prompt_default`:\n\n"
      "| key | what it may be | default | |\n|---|---|---|---|\n";
  for (const Field& field : service_fields(untouched)) {
    text += "| `" + std::string(field.name) + "` | " + bounds_text(field) + " | `" +
            value_text(field) + "` | " + std::string(field.help) + " |\n";
  }
  return text;
}

std::string default_text(const sidecar::Option& option) {
  return option.default_value.empty() ? "none" : option.default_value;
}

}  // namespace

std::string help_text(const std::vector<sidecar::Option>& options) {
  std::string text =
      "nacelled: one process that owns the models of a pod and serves the others through shared "
      "memory.\n\n"
      "usage: nacelled [--config=FILE] [--OPTION=VALUE]...\n\n"
      "  --help, -h                 print this and leave\n"
      "  --version                  print the version and leave\n"
      "  --explain                  check the configuration, print every value with its source, "
      "leave\n"
      "  --print-options-markdown   print docs/OPTIONS.md and leave\n"
      "  --print-metrics-markdown   print docs/METRICS.md and leave\n\n"
      "Each option can stand in the YAML file (name: value), in the environment (NACELLE_NAME) or\n"
      "on the command line; the command line wins over the environment, the environment over the "
      "file.\n\n";
  for (const sidecar::Option& option : options) {
    text += "  " + option.flag + "=  (" + option.type;
    if (!option.bounds.empty()) text += ": " + option.bounds;
    text += "; default " + default_text(option) + ")\n";
    text += wrapped(option.help, 6);
  }
  return text;
}

std::string version_text() { return "nacelled " + std::string(sidecar::version()) + "\n"; }

std::string explain_text(const std::vector<sidecar::Option>& options) {
  std::size_t name_width = 0;
  std::size_t value_width = 0;
  for (const sidecar::Option& option : options) {
    name_width = std::max(name_width, option.name.size());
    // One long value must not push every source off the screen.
    value_width = std::max(value_width, std::min<std::size_t>(option.value.size(), 40));
  }
  std::string text;
  for (const sidecar::Option& option : options) {
    const std::string value = option.value.empty() ? "none" : option.value;
    text += option.name + std::string(name_width - option.name.size() + 2, ' ') + value;
    text += std::string(value.size() < value_width ? value_width - value.size() + 2 : 2, ' ');
    text += option.source + "\n";
  }
  return text;
}

std::string options_markdown(const std::vector<sidecar::Option>& options) {
  std::string text =
      "# Options\n\n"
      "Written by `nacelled --print-options-markdown`; a test fails when it is out of date. "
      "Change\n"
      "the list in `sidecar/config/fields.cc`, not this file.\n\n"
      "Every option can stand in the YAML file (`transport: {slots: 128}`), in the environment\n"
      "(`NACELLE_TRANSPORT_SLOTS=128`) and on the command line (`--transport.slots=128`). The\n"
      "command line wins over the environment, the environment over the file. `nacellectl config\n"
      "explain` shows the values of a running sidecar and where each came from; `nacelled "
      "--explain`\n"
      "does so before there is one.\n";
  for (const sidecar::Option& option : options) {
    text += "\n## `" + option.name + "`\n\n";
    text += wrapped(option.help, 0) + "\n";
    text += "- a " + option.type;
    if (!option.bounds.empty()) text += ": " + option.bounds;
    text += "\n- default: " +
            (option.default_value.empty() ? std::string("none") : "`" + option.default_value + "`");
    text += "\n- `" + option.flag + "=`, `" + option.environment + "`\n";
    if (option.name == "services") text += service_keys_markdown();
  }
  return text;
}

}  // namespace nacelle::config
