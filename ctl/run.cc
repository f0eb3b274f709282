#include "ctl/run.h"

#include <algorithm>
#include <boost/program_options.hpp>
#include <iterator>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "ctl/command.h"
#include "sidecar/base/suggest.h"

namespace nacelle::ctl {
namespace {

namespace po = boost::program_options;

// How long a sidecar may take for one answer. It never waits for a model, so this is generous.
constexpr int kTimeoutMs = 10'000;

// Options of commands; a command says which of them it takes.
constexpr const char* kValueOptions[] = {"last", "count", "interval"};  // -n: count
constexpr const char* kFlagOptions[] = {"once"};

struct Line {
  std::vector<std::string> words;                            // a command and its arguments
  std::vector<std::pair<std::string, std::string>> options;  // of commands: name, value
  std::string socket;                                        // empty: not given
  bool json = false;
  bool help = false;
  bool version = false;
};

Ran usage_error(const std::string& message) {
  return {kUsage, "", "nacellectl: " + message + "\n"};
}

std::string help_text() {
  std::string text =
      "nacellectl: ask a running nacelled.\n\n"
      "usage: nacellectl [--socket=PATH] [--json] COMMAND [ARGUMENT]\n\n"
      "commands\n";
  for (const Command* command : all_commands()) {
    std::string call = std::string(command->name);
    if (!command->arguments.empty()) call += " " + std::string(command->arguments);
    text += "  " + call + std::string(call.size() < 26 ? 26 - call.size() : 1, ' ') +
            std::string(command->summary) + "\n";
  }
  return text +
         "\noptions\n"
         "  --socket=PATH             the control socket; else NACELLE_CONTROL_SOCKET, else\n"
         "                            " +
         control::default_socket() +
         "\n"
         "  --json                    one JSON document, for scripts\n"
         "  --help, -h                this, or more about a command\n"
         "  --version                 the version of nacellectl\n\n"
         "exit codes: 0 done, 1 the sidecar said no, 2 usage, 3 cannot reach the sidecar\n";
}

std::string help_text(const Command& command) {
  std::string call = "nacellectl " + std::string(command.name);
  if (!command.arguments.empty()) call += " " + std::string(command.arguments);
  return call + "\n\n" + std::string(command.summary) + ".\n\n" + std::string(command.help) + "\n";
}

// The command that `words` begin with, preferring longer names, and the words behind it.
const Command* find_command(const std::vector<std::string>& words,
                            std::vector<std::string_view>& rest) {
  for (std::size_t count = words.size(); count > 0; --count) {
    std::string name = words[0];
    for (std::size_t i = 1; i < count; ++i) name += " " + words[i];
    for (const Command* command : all_commands()) {
      if (command->name != name) continue;
      rest.assign(words.begin() + static_cast<std::ptrdiff_t>(count), words.end());
      return command;
    }
  }
  return nullptr;
}

Ran unknown_command(const std::vector<std::string>& words) {
  std::vector<std::string> names;
  std::vector<std::string> group;  // the commands that begin with the word
  for (const Command* command : all_commands()) {
    names.emplace_back(command->name);
    if (names.back().starts_with(words[0] + " ")) group.push_back("nacellectl " + names.back());
  }
  if (words.size() == 1 && !group.empty()) {
    return usage_error("\"" + words[0] + "\" is a group of commands: " + list_text(group));
  }
  std::string written = words[0];
  if (words.size() > 1) written += " " + words[1];
  std::string hint = base::did_you_mean(written, names);
  if (hint.empty()) hint = base::did_you_mean(words[0], names);
  if (hint.empty()) hint = "; see nacellectl --help";
  // Behind a group the second word is the wrong one.
  return usage_error("unknown command \"" + printable(group.empty() ? words[0] : written) + "\"" +
                     hint);
}

// The command line as words and options, or what is wrong with it.
std::optional<std::string> parse(int argc, const char* const* argv, Line& line) {
  po::options_description known;
  known.add_options()("socket", po::value<std::string>())("json", "")("help,h", "")("version", "");
  for (const std::string name : kValueOptions) {
    known.add_options()((name == "count" ? name + ",n" : name).c_str(), po::value<std::string>());
  }
  for (const char* name : kFlagOptions) known.add_options()(name, "");
  std::vector<std::string> names = {"socket", "json", "help", "version"};
  names.insert(names.end(), std::begin(kValueOptions), std::end(kValueOptions));
  names.insert(names.end(), std::begin(kFlagOptions), std::end(kFlagOptions));

  namespace style = po::command_line_style;
  po::parsed_options parsed(nullptr);
  try {
    parsed = po::command_line_parser(argc, argv)
                 .options(known)
                 .style(style::unix_style & ~style::allow_guessing & ~style::allow_sticky)
                 .allow_unregistered()
                 .run();
  } catch (const po::error& problem) {
    return problem.what();
  }
  for (const po::option& option : parsed.options) {
    if (option.string_key.empty()) {
      line.words.insert(line.words.end(), option.value.begin(), option.value.end());
    } else if (option.unregistered) {
      const std::optional<std::string> near = base::suggest(option.string_key, names);
      return "unknown option \"" + printable(option.original_tokens.front()) + "\"" +
             (near ? "; did you mean \"--" + *near + "\"?" : "; see nacellectl --help");
    } else if (option.string_key == "socket") {
      line.socket = option.value.front();
      if (line.socket.empty()) return "--socket is empty; give the path of the control socket";
    } else if (option.string_key == "json" || option.string_key == "help" ||
               option.string_key == "version") {
      line.json |= option.string_key == "json";
      line.help |= option.string_key == "help";
      line.version |= option.string_key == "version";
    } else {
      line.options.emplace_back(option.string_key,
                                option.value.empty() ? std::string() : option.value.front());
    }
  }
  // "nacellectl help status" is what many try first.
  if (!line.words.empty() && line.words.front() == "help") {
    line.words.erase(line.words.begin());
    line.help = true;
  }
  return std::nullopt;
}

Ran unreachable(const base::Error& error) {
  return {
      kUnreachable, "",
      "nacellectl: " + printable(error.message) +
          "\nIs nacelled running? Start it with \"nacelled --config=FILE\", or name its control "
          "socket with\n--socket=PATH or NACELLE_CONTROL_SOCKET (its option control.socket).\n"};
}

Ran refused(const Command& command, const base::Error& error) {
  return {kRefused, "",
          "nacellectl " + std::string(command.name) + ": " + printable(error.message) + "\n"};
}

Ran do_alone(const Command& command, const std::vector<std::string_view>& arguments,
             const Line& line) {
  Output out(line.json);
  const base::Status status = command.run_alone(arguments, out);
  if (!status) return refused(command, status.error());
  return {kDone, out.text(), ""};
}

Ran ask(const Command& command, const std::vector<std::string_view>& arguments, const Line& line,
        const std::string& socket) {
  auto sidecar = control::Client::connect(socket, kTimeoutMs);
  if (!sidecar) {
    const base::Error& error = sidecar.error();
    if (error.code == base::Code::kInvalid) return usage_error(printable(error.message));
    return unreachable(error);
  }
  Output out(line.json);
  const base::Status status = command.run(arguments, *sidecar, out);
  if (status) return {kDone, out.text(), ""};
  const base::Error& error = status.error();
  // A sidecar that answers with these codes about itself is as good as not there.
  if (error.code == base::Code::kSidecarGone || error.code == base::Code::kDeadlineExceeded) {
    return unreachable(error);
  }
  return refused(command, error);
}

}  // namespace

Ran run(int argc, const char* const* argv, const char* socket_variable) {
  Line line;
  if (const auto problem = parse(argc, argv, line)) return usage_error(*problem);
  if (line.version) return {kDone, "nacellectl " NACELLE_VERSION "\n", ""};
  if (line.words.empty()) {
    if (line.help) return {kDone, help_text(), ""};
    return {kUsage, "", help_text()};
  }
  std::vector<std::string_view> arguments;
  const Command* command = find_command(line.words, arguments);
  if (command == nullptr) return unknown_command(line.words);
  if (line.help) return {kDone, help_text(*command), ""};
  if (arguments.size() > command->arguments_max) {
    const std::string takes = command->arguments.empty()
                                  ? "takes no argument"
                                  : "takes " + std::string(command->arguments);
    return usage_error(std::string(command->name) + " " + takes + ", and there is \"" +
                       printable(arguments.back()) + "\"");
  }
  std::vector<std::string> options;
  for (const auto& [name, value] : line.options) {
    if (std::find(command->options.begin(), command->options.end(), name) ==
        command->options.end()) {
      return usage_error(std::string(command->name) + " takes no option \"--" + name + "\"");
    }
    options.push_back("--" + name + (value.empty() ? "" : "=" + value));
  }
  arguments.insert(arguments.end(), options.begin(), options.end());
  if (command->run_alone != nullptr) return do_alone(*command, arguments, line);
  const bool from_variable = socket_variable != nullptr && *socket_variable != '\0';
  const std::string socket = !line.socket.empty() ? line.socket
                             : from_variable      ? std::string(socket_variable)
                                                  : control::default_socket();
  return ask(*command, arguments, line, socket);
}

}  // namespace nacelle::ctl
