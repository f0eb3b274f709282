// nacellectl trace: the last requests' way through the stages, as a file for ui.perfetto.dev.
#include <cerrno>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "ctl/command.h"
#include "ctl/perfetto.h"
#include "sidecar/base/file.h"

namespace nacelle::ctl {
namespace {

base::Status run(std::span<const std::string_view> args, control::Client& sidecar, Output& out) {
  std::string path;
  std::uint64_t last = control::kTraceDefault;
  for (const std::string_view word : args) {
    if (const auto value = option_value(word, "last")) {
      const auto number = whole_number(*value);
      if (!number || *number == 0) {
        return base::Error{base::Code::kInvalid, "--last is \"" + std::string(*value) +
                                                     "\"; give a number of requests, from 1 on"};
      }
      last = *number;
    } else {
      path = word;
    }
  }
  if (path.empty() && !out.wants_json()) {
    return base::Error{base::Code::kInvalid,
                       "name the file to write: nacellectl trace trace.json (or --json, which "
                       "prints it)"};
  }
  const auto report = sidecar.trace(last);
  if (!report) return report.error();
  const nlohmann::json picture = perfetto(*report);
  if (path.empty()) {
    out.json(picture);
    return base::ok();
  }
  std::ofstream file(path, std::ios::trunc);
  file << picture.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
  file.close();
  if (!file) {
    return base::Error{base::Code::kUnavailable,
                       "cannot write " + path + ": " + base::errno_text(errno)};
  }
  if (out.wants_json()) {
    out.json({{"file", path},
              {"requests", report->requests.size()},
              {"batches", report->batches.size()}});
  } else {
    out.line(path + ": " + count_text(report->requests.size()) + " requests and " +
             count_text(report->batches.size()) + " batches; open it at ui.perfetto.dev");
  }
  return base::ok();
}

constexpr std::string_view kOptions[] = {"last"};

}  // namespace

extern const Command kTrace{
    .name = "trace",
    .arguments = "FILE [--last=N]",
    .arguments_max = 1,
    .options = kOptions,
    .summary = "write the last requests' way through the stages as a picture",
    .help =
        "The file is in Chrome's trace event format: ui.perfetto.dev and chrome://tracing open "
        "it.\n"
        "It has the last 1000 requests (--last=N; the sidecar remembers 4096), each with the time "
        "it\n"
        "spent in every stage, and the batches they were in. No text and no result is in it.",
    .run = run,
};

}  // namespace nacelle::ctl
