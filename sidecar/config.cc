#include "sidecar/config.h"

#include <algorithm>
#include <map>
#include <utility>

#include "sidecar/base/address.h"
#include "sidecar/base/check.h"
#include "sidecar/base/file.h"
#include "sidecar/config/environment.h"
#include "sidecar/config/fields.h"
#include "sidecar/config/flags.h"
#include "sidecar/config/report.h"
#include "sidecar/config/value.h"
#include "sidecar/config/yaml.h"

namespace nacelle::sidecar {
namespace {

using config::Field;
using config::Problems;
using config::Setting;

// Where each option's value comes from, by name. Options that are not in it have their default.
using Sources = std::map<std::string, std::string, std::less<>>;

// Later calls win over earlier ones. A value that loses is checked all the same: it would
// otherwise break the next start, when the one that hid it is gone.
void apply(const std::vector<Field>& fields, const std::vector<Setting>& settings, Sources& sources,
           Problems& problems) {
  for (const Setting& setting : settings) {
    const auto field = std::find_if(fields.begin(), fields.end(),
                                    [&](const Field& f) { return f.name == setting.name; });
    CHECK(field != fields.end());  // the readers give settings of known options only
    assign(*field, setting, problems);
    sources[setting.name] = setting.where;
  }
}

// Rules between options.
void check_together(const Config& config, Problems& problems) {
  if (config.services.empty()) {
    problems.add(
        "services: no service is configured; name at least one, as in --services=minilm=/models/"
        "minilm or in the YAML file");
  }
  if (config.socket == config.control.socket) {
    problems.add("control.socket: " + config::quoted(config.control.socket) +
                 " is the data socket (option socket); give the two different paths");
  }
  const auto listen = base::parse_address(config.metrics.listen);
  if (listen && !listen->loopback && config.metrics.reach != "any") {
    problems.add("metrics.listen: " + config::quoted(config.metrics.listen) +
                 " can be reached from other machines; give an address such as 127.0.0.1, or set "
                 "metrics.reach to any");
  }
  // A text travels with 4 bytes that tell its size.
  if (config.limits.text_bytes_max + 4 > config.transport.request_arena_bytes) {
    problems.add("limits.text_bytes_max: " + std::to_string(config.limits.text_bytes_max) +
                 " bytes do not fit in transport.request_arena_bytes, which is " +
                 std::to_string(config.transport.request_arena_bytes) +
                 "; lower the first or raise the second");
  }
}

std::vector<Option> describe(const std::vector<Field>& fields, const Sources& sources) {
  Config untouched;
  const std::vector<Field> defaults = config::fields(untouched);
  std::vector<Option> options;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const Field& field = fields[i];
    const auto source = sources.find(field.name);
    options.push_back({
        .name = std::string(field.name),
        .flag = field.flag(),
        .environment = field.environment(),
        .type = type_text(field),
        .unit = std::string(field.unit),
        .bounds = bounds_text(field),
        .default_value = value_text(defaults[i]),
        .value = value_text(field),
        .source = source == sources.end() ? "default" : source->second,
        .help = std::string(field.help),
    });
  }
  return options;
}

// The file named by a flag, else by the environment; empty when neither names one.
const Setting* config_file(const std::vector<Setting>& flags,
                           const std::vector<Setting>& environment) {
  for (const std::vector<Setting>* settings : {&flags, &environment}) {
    for (const Setting& setting : *settings) {
      if (setting.name == "config") return &setting;
    }
  }
  return nullptr;
}

}  // namespace

base::Error LoadedConfig::refuse(std::string_view option, std::string_view why) const {
  const auto found = std::find_if(options.begin(), options.end(),
                                  [&](const Option& o) { return o.name == option; });
  CHECK(found != options.end());
  return {base::Code::kInvalid, found->name + " = " + config::quoted(found->value) + " (" +
                                    found->source + ") " + std::string(why)};
}

base::Result<LoadedConfig> load_config(int argc, const char* const* argv,
                                       const char* const* environment) {
  LoadedConfig loaded;
  const std::vector<Field> fields = config::fields(loaded.config);
  Problems problems;
  const config::Flags flags = config::read_flags(argc, argv, fields, problems);

  // These three explain the program, not this run: a broken environment must not hide the help.
  if (problems.none() && flags.action != config::Action::kServe &&
      flags.action != config::Action::kExplain) {
    loaded.options = describe(fields, {});
    loaded.print = flags.action == config::Action::kHelp ? config::help_text(loaded.options)
                   : flags.action == config::Action::kVersion
                       ? config::version_text()
                       : config::options_markdown(loaded.options);
    return loaded;
  }

  const std::vector<Setting> variables = config::read_environment(environment, fields, problems);
  Sources sources;
  if (const Setting* file = config_file(flags.settings, variables)) {
    const std::string& path = std::get<std::string>(file->written);
    if (!path.empty()) {
      const auto text = base::read_file(path, config::kYamlSizeMax);
      if (!text) return text.error().in("configuration file (" + file->where + ")");
      apply(fields, config::read_yaml(*text, path, fields, problems), sources, problems);
    }
  }
  apply(fields, variables, sources, problems);
  apply(fields, flags.settings, sources, problems);
  if (problems.none()) check_together(loaded.config, problems);
  if (!problems.none()) return problems.error();

  loaded.options = describe(fields, sources);
  if (flags.action == config::Action::kExplain) loaded.print = config::explain_text(loaded.options);
  return loaded;
}

std::string_view version() { return NACELLE_VERSION; }

}  // namespace nacelle::sidecar
