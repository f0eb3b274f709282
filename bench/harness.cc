// See harness.h.
#include "bench/harness.h"

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>

#include "sidecar/base/check.h"

namespace nacelle::bench {
namespace {

void pause(base::Nanos duration) {
  if (duration <= 0) return;
  const timespec time{.tv_sec = duration / base::kSecond, .tv_nsec = duration % base::kSecond};
  nanosleep(&time, nullptr);
}

base::Nanos cpu_ns() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return time.tv_sec * base::kSecond + time.tv_nsec;
}

std::string number(const std::optional<double>& value) {
  if (!value) return "-";
  char text[32];
  std::snprintf(text, sizeof text, *value < 100 ? "%.2f" : "%.0f", *value);
  return text;
}

}  // namespace

base::Result<Options> parse_options(std::span<const char* const> args) {
  Options options;
  std::string wrong;
  for (std::size_t i = 1; i < args.size(); ++i) {
    const std::string_view arg = args[i];
    std::string* value = arg == "--json"   ? &options.json
                         : arg == "--only" ? &options.only
                                           : nullptr;
    if (arg == "--quick") {
      options.quick = true;
    } else if (value == nullptr) {
      wrong = "unknown option \"" + std::string(arg) + "\"";
    } else if (++i == args.size()) {
      wrong = std::string(arg) + " needs a value";
    } else {
      *value = args[i];
    }
  }
  if (wrong.empty()) return options;
  return base::Error{base::Code::kInvalid,
                     wrong + "; usage: [--quick] [--json FILE] [--only TEXT]"};
}

Sample summarize(std::vector<double> values) {
  CHECK(!values.empty());
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  const double median =
      values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
  return {.median = median, .min = values.front(), .max = values.back()};
}

std::vector<Sample> race(std::span<const std::function<void()>> contenders, const Race& rules) {
  // The time of `count` calls. The clock stays outside of the loop: reading it costs as much as a
  // small op.
  const auto measure = [&rules](const std::function<void()>& call, std::uint64_t count) {
    const base::Nanos begin = rules.cpu_time ? cpu_ns() : base::now_ns();
    for (std::uint64_t i = 0; i < count; ++i) call();
    return (rules.cpu_time ? cpu_ns() : base::now_ns()) - begin;
  };

  // How many calls make a block: doubled from 1, which warms up as well.
  constexpr std::uint64_t kCallsMax = 1'000'000;
  std::vector<std::uint64_t> calls;
  for (const auto& call : contenders) {
    std::uint64_t count = 1;
    call();
    while (measure(call, count) < rules.block_ns * 2 / 3 && count < kCallsMax) count *= 2;
    calls.push_back(count);
  }

  std::vector<std::vector<double>> times(contenders.size());
  for (unsigned run = 0; run < rules.runs; ++run) {
    for (std::size_t c = 0; c < contenders.size(); ++c) {
      pause(rules.settle_ns);
      contenders[c]();  // wakes threads, fills caches
      times[c].push_back(static_cast<double>(measure(contenders[c], calls[c])) /
                         static_cast<double>(calls[c]));
    }
  }
  std::vector<Sample> samples;
  for (auto& values : times) samples.push_back(summarize(std::move(values)));
  return samples;
}

std::optional<double> Row::ratio() const {
  if (!peer) return std::nullopt;
  return less_is_better ? *peer / ours.median : ours.median / *peer;
}

bool Report::wants(std::string_view name) const {
  return name.find(options_.only) != std::string_view::npos;
}

void Report::add(Row row) {
  if (rows_.empty()) {
    std::printf("%-44s %-5s %9s %19s %9s %7s  %9s  %s\n", "case", "unit", "ours", "(min .. max)",
                "peer", "ratio", "bound", "of the bound, bound's name");
  }
  std::string share = "-";
  if (row.bound) {
    const double part =
        100 * (row.less_is_better ? *row.bound / row.ours.median : row.ours.median / *row.bound);
    share = number(part) + "% " + row.bound_name;
  }
  const std::string range = "(" + number(row.ours.min) + " .. " + number(row.ours.max) + ")";
  std::printf("%-44s %-5s %9s %19s %9s %6sx  %9s  %s\n", row.name.c_str(), row.unit.c_str(),
              number(row.ours.median).c_str(), range.c_str(), number(row.peer).c_str(),
              number(row.ratio()).c_str(), number(row.bound).c_str(), share.c_str());
  std::fflush(stdout);
  rows_.push_back(std::move(row));
}

std::string json_line(const Row& row) {
  nlohmann::ordered_json line;
  const auto optional = [](const std::optional<double>& value) {
    return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json(nullptr);
  };
  line["bench"] = row.bench;
  line["case"] = row.name;
  line["unit"] = row.unit;
  line["ours"] = row.ours.median;
  line["ours_min"] = row.ours.min;
  line["ours_max"] = row.ours.max;
  line["peer"] = optional(row.peer);
  line["peer_name"] = row.peer_name;
  line["ratio"] = optional(row.ratio());
  line["bound"] = optional(row.bound);
  line["bound_name"] = row.bound_name;
  line["runs"] = row.runs;
  return line.dump();
}

base::Status Report::finish() const {
  if (options_.json.empty()) return base::ok();
  std::ofstream file(options_.json, std::ios::trunc);
  for (const Row& row : rows_) file << json_line(row) << "\n";
  file.close();
  if (file.fail()) {
    return base::Error{base::Code::kUnavailable,
                       "cannot write \"" + options_.json + "\": is its folder there and writable?"};
  }
  return base::ok();
}

}  // namespace nacelle::bench
