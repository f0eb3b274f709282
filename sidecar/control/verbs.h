// What the control socket answers: a table of verbs, each with the function that answers it.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "sidecar/base/result.h"
#include "sidecar/control/api.h"

namespace nacelle::control {

struct Verb {
  std::string_view name;
  // Called on the control thread, one call at a time, with the request's "arguments" object. Has
  // to answer without waiting for a request in flight.
  std::function<base::Result<Json>(const Json& arguments)> answer;
  // A descriptor that goes with the answer, and stays the callee's; asked after `answer`.
  std::function<int()> descriptor = nullptr;
};

// Where the answers come from. Called on the control thread.
struct Sources {
  std::function<StatusReport()> status;
  std::vector<sidecar::Option> options;
  std::function<std::string()> metrics = nullptr;  // Prometheus' text format
  std::function<TraceReport(std::uint64_t last)> trace = nullptr;
  std::function<int()> watch = nullptr;  // the statistics page's descriptor
};

// THE LIST of verbs.
std::vector<Verb> all_verbs(Sources sources);

// The answer to one line from a client (without its '\n'), as a line with its '\n'. Whatever the
// line holds, there is an answer.
// `descriptor`, when given, is what goes with the answer, or -1.
std::string answer_to(std::string_view line, const std::vector<Verb>& verbs,
                      int* descriptor = nullptr);

}  // namespace nacelle::control
