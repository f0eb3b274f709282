// What every benchmark program here shares: options, fair timing, and one way to show the result.
//
// A row compares one case of ours with a peer that does the same work in the same run, and with a
// physical bound. `--json FILE` writes each row as one JSON object on a line of its own.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sidecar/base/result.h"
#include "sidecar/base/time.h"

namespace nacelle::bench {

struct Options {
  bool quick = false;  // --quick: fewer cases and shorter runs, under a minute in all
  std::string json;    // --json FILE; "" for none
  std::string only;    // --only TEXT: cases whose name contains it
};

// kInvalid with the usage as its message, when an option is unknown or lacks its value.
base::Result<Options> parse_options(std::span<const char* const> args);

// Repeated measurements of one thing.
struct Sample {
  double median = 0;
  double min = 0;
  double max = 0;
};
Sample summarize(std::vector<double> values);  // at least one

struct Race {
  unsigned runs = 5;                               // measurements of each contender
  base::Nanos block_ns = 10 * base::kMillisecond;  // each repeats its call for about so long
  base::Nanos settle_ns = 0;  // pause before each: a peer's threads may spin on after their work
  // Measure the calling thread's CPU time instead of wall time. Right for work that stays on this
  // thread: the same on an idle machine, and far steadier on a busy one.
  bool cpu_time = false;
};

// Nanoseconds per call of every contender, measured in turn (a b a b ...) after one call each to
// warm up, so that a slow spell of the machine hits all of them.
std::vector<Sample> race(std::span<const std::function<void()>> contenders, const Race& rules);

struct Row {
  std::string bench;  // "kernels"
  std::string name;   // the case: "linear 384x1152, 8 rows, 1 thread"
  std::string unit;   // of ours, peer and bound: "us"
  bool less_is_better = true;
  Sample ours;
  std::optional<double> peer;
  std::string peer_name;  // "-" without a peer
  std::optional<double> bound;
  std::string bound_name;
  unsigned runs = 0;

  // How many times better than the peer; above 1 we win.
  [[nodiscard]] std::optional<double> ratio() const;
};

// Prints rows as they come and keeps them for the JSON file.
class Report {
 public:
  explicit Report(Options options) : options_(std::move(options)) {}

  // Whether --only asks for this case.
  [[nodiscard]] bool wants(std::string_view name) const;
  void add(Row row);
  [[nodiscard]] const std::vector<Row>& rows() const { return rows_; }
  // Writes the JSON file, if one was asked for.
  base::Status finish() const;

 private:
  Options options_;
  std::vector<Row> rows_;
};

// One row as its JSON line, without the newline; null where there is no peer or bound.
std::string json_line(const Row& row);

}  // namespace nacelle::bench
