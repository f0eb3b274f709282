#include "bench/serve/options.h"

#include <charconv>
#include <optional>
#include <string_view>
#include <utility>

namespace nacelle::bench::serve {

const char* const kUsage =
    R"(usage: serve_load nacelle SOCKET SERVICE --texts=FILE [OPTION]...
       serve_load http SOCKET[,SOCKET]... --texts=FILE [OPTION]...

  --phases=RATE:MS[,RATE:MS]...  requests per second of all processes, and for how long
  --pattern=poisson|burst|closed closed: as many under way as --in-flight says, one phase
  --burst=N                      requests that a process sends at once (16)
  --in-flight=N                  of a process, closed (1)
  --processes=N --connections=N  connections are per process (1, 1)
  --seed=N                       the same seed, the same requests at the same moments (1)
  --timeout-ms=N                 of a request, from when it was due; 0: the server's (0)
  --grace-ms=N                   after the last phase; what is open then is lost (1000)
  --cancel-share=S --cancel-after-us=N   which part is given up, and when (0, 1000)
  --name=NAME                    of the client, for nacellectl
  --expected=FILE                the texts' vectors, raw floats; else they are asked for before
  --part=I/N                     every Nth text, beginning with number I: two loads at the same
                                 time, each with texts of its own (0/1)

Prints "ready" once every connection works, reads "go" or "go START_NS" (CLOCK_MONOTONIC), and
prints "ok" with the report as JSON, or "error" and words.
)";

namespace {

using base::Code;
using base::Error;

template <typename Number>
bool read(std::string_view text, Number& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

template <typename Number>
bool read_between(std::string_view text, Number least, Number most, Number& value) {
  Number number{};
  if (!read(text, number) || !(number >= least && number <= most)) return false;
  value = number;
  return true;
}

// A time given in units of `unit`, at most kDurationMax.
bool read_time(std::string_view text, base::Nanos unit, base::Nanos& value) {
  base::Nanos number = 0;
  if (!read_between<base::Nanos>(text, 0, kDurationMax / unit, number)) return false;
  value = number * unit;
  return true;
}

std::vector<std::string_view> split(std::string_view text) {
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t comma = text.find(',');
    parts.push_back(text.substr(0, comma));
    if (comma == std::string_view::npos) return parts;
    text.remove_prefix(comma + 1);
  }
}

bool read_phases(std::string_view text, std::vector<Phase>& phases) {
  constexpr std::size_t kPhasesMax = 64;
  constexpr double kRateMax = 1e6;
  phases.clear();
  for (const std::string_view part : split(text)) {
    const std::size_t colon = part.find(':');
    Phase phase;
    if (colon == std::string_view::npos ||
        !read_between(part.substr(0, colon), 0.0, kRateMax, phase.rate) ||
        !read_time(part.substr(colon + 1), base::kMillisecond, phase.duration) ||
        phase.duration == 0) {
      return false;
    }
    phases.push_back(phase);
  }
  return phases.size() <= kPhasesMax;
}

bool read_part(std::string_view text, Part& part) {
  constexpr std::uint32_t kPartsMax = 1000;
  const std::size_t slash = text.find('/');
  return slash != std::string_view::npos &&
         read_between(text.substr(slash + 1), 1U, kPartsMax, part.count) &&
         read_between(text.substr(0, slash), 0U, part.count - 1, part.index);
}

bool read_pattern(std::string_view text, Pattern& pattern) {
  constexpr std::pair<std::string_view, Pattern> kPatterns[] = {
      {"poisson", Pattern::kPoisson}, {"burst", Pattern::kBurst}, {"closed", Pattern::kClosed}};
  for (const auto& [name, value] : kPatterns) {
    if (text != name) continue;
    pattern = value;
    return true;
  }
  return false;
}

// False when the value is no good; nothing when the name is unknown.
std::optional<bool> read_option(std::string_view name, std::string_view value, Options& options) {
  Load& load = options.load;
  if (name == "texts") return (options.texts = value, !value.empty());
  if (name == "name") return (options.name = value, !value.empty() && value.size() <= 63);
  if (name == "expected") return (options.expected = value, !value.empty());
  if (name == "part") return read_part(value, options.part);
  if (name == "phases") return read_phases(value, load.phases);
  if (name == "pattern") return read_pattern(value, load.pattern);
  if (name == "burst") return read_between(value, 1U, 100'000U, load.burst);
  if (name == "in-flight") return read_between(value, 1U, 100'000U, load.in_flight);
  if (name == "processes") return read_between(value, 1U, kProcessesMax, load.processes);
  if (name == "connections") return read_between(value, 1U, kConnectionsMax, load.connections);
  if (name == "seed") return read(value, load.seed);
  if (name == "timeout-ms") return read_time(value, base::kMillisecond, load.timeout);
  if (name == "grace-ms") return read_time(value, base::kMillisecond, load.grace);
  if (name == "cancel-share") return read_between(value, 0.0, 1.0, load.cancel_share);
  if (name == "cancel-after-us") return read_time(value, base::kMicrosecond, load.cancel_after);
  return std::nullopt;
}

}  // namespace

base::Result<Options> parse_options(std::span<const char* const> words) {
  Options options;
  std::vector<std::string_view> plain;
  for (const std::string_view word : words) {
    if (word.substr(0, 2) != "--") {
      plain.push_back(word);
      continue;
    }
    const std::size_t equals = word.find('=');
    const bool valued = equals != std::string_view::npos;
    const std::optional<bool> good =
        read_option(word.substr(2, valued ? equals - 2 : equals),
                    valued ? word.substr(equals + 1) : std::string_view(), options);
    if (!good || !*good) {
      return Error{Code::kInvalid, (good ? "a value that makes no sense: " : "no such option: ") +
                                       std::string(word)};
    }
  }
  options.http = !plain.empty() && plain.front() == "http";
  const std::size_t expected = options.http ? 2 : 3;
  if (plain.size() != expected || (!options.http && plain.front() != "nacelle")) {
    return Error{Code::kInvalid, "which server, where, and Nacelle's service"};
  }
  if (options.http) {
    for (const std::string_view path : split(plain[1])) options.sockets.emplace_back(path);
  } else {
    options.sockets.emplace_back(plain[1]);
    options.service = plain[2];
  }
  const Load& load = options.load;
  if (options.texts.empty() || load.phases.empty() || load.duration() > kDurationMax) {
    return Error{Code::kInvalid, "--texts and --phases are needed, of 600 seconds at most"};
  }
  if (load.pattern == Pattern::kClosed && (load.phases.size() != 1 || load.cancel_share > 0)) {
    return Error{Code::kInvalid, "a closed load has one phase and gives nothing up"};
  }
  return options;
}

}  // namespace nacelle::bench::serve
