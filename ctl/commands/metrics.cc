// nacellectl metrics: everything that the sidecar counts, in Prometheus' text format.
#include <nlohmann/json.hpp>

#include "ctl/command.h"

namespace nacelle::ctl {
namespace {

base::Status run(std::span<const std::string_view>, control::Client& sidecar, Output& out) {
  const auto text = sidecar.metrics();
  if (!text) return text.error();
  if (out.wants_json()) {
    out.json({{"text", *text}});
  } else {
    out.verbatim(*text);
  }
  return base::ok();
}

}  // namespace

extern const Command kMetrics{
    .name = "metrics",
    .arguments = "",
    .arguments_max = 0,
    .summary = "print every metric in Prometheus' text format",
    .help =
        "For a textfile collector or a script; the page that /metrics serves, when that is on.\n"
        "docs/METRICS.md says what each metric means. Clients choose their names, so on a\n"
        "terminal pipe this into a pager.",
    .run = run,
};

}  // namespace nacelle::ctl
