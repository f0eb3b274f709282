// Metrics as text: Prometheus' exposition format 0.0.4, and a table for the documents.
//
// A metric is declared where it is visited, in one line: its family's name, help and type beside
// the counter. Samples may come in any order; a page keeps those of a family together, as the
// format wants.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sidecar/metrics/histogram.h"
#include "sidecar/metrics/metric.h"

namespace nacelle::metrics {

enum class Type { kCounter, kGauge, kHistogram };

// Of histograms: the powers of two that become buckets of the exposition, first and last.
struct Bounds {
  unsigned first = 0;
  unsigned last = 0;
};
inline constexpr Bounds kTimeBounds{10, 35};   // 1 us to 34 s, in nanoseconds
inline constexpr Bounds kCountBounds{0, 20};   // 1 to a million
inline constexpr Bounds kPercentBounds{0, 7};  // 1 to 128

struct Family {
  std::string_view name;  // with its unit, and _total when it is a counter
  std::string_view help;  // a sentence
  Type type = Type::kCounter;
  double scale = 1;  // what is recorded, times this, is what is shown: 1e-9 for seconds
  Bounds bounds = {};
};

// Families of the usual kinds. Times are recorded in nanoseconds and shown in seconds.
constexpr Family counter(std::string_view name, std::string_view help) { return {name, help}; }
constexpr Family seconds_counter(std::string_view name, std::string_view help) {
  return {name, help, Type::kCounter, 1e-9};
}
constexpr Family gauge(std::string_view name, std::string_view help) {
  return {name, help, Type::kGauge};
}
constexpr Family seconds_histogram(std::string_view name, std::string_view help) {
  return {name, help, Type::kHistogram, 1e-9, kTimeBounds};
}
constexpr Family count_histogram(std::string_view name, std::string_view help) {
  return {name, help, Type::kHistogram, 1, kCountBounds};
}
constexpr Family ratio_histogram(std::string_view name, std::string_view help) {
  return {name, help, Type::kHistogram, 0.01, kPercentBounds};  // recorded in percent
}

struct Label {
  std::string_view name;
  std::string_view value;  // any bytes
};
using Labels = std::vector<Label>;

class Exposition {
 public:
  void add(const Family& family, const Labels& labels, std::uint64_t value);
  void add(const Family& family, const Labels& labels, const Counter& metric) {
    add(family, labels, metric.get());
  }
  void add(const Family& family, const Labels& labels, const Gauge& metric) {
    add(family, labels, metric.get());
  }
  void add(const Family& family, const Labels& labels, const Histogram& metric);

  // The page, families in the order of their first samples.
  [[nodiscard]] std::string text() const;
  // The same families as a Markdown table: name, type, labels, help.
  [[nodiscard]] std::string markdown() const;

 private:
  struct Part {
    Family family;
    std::vector<std::string> label_names;
    std::string samples;
  };
  Part& part_of(const Family& family, const Labels& labels);

  std::vector<Part> parts_;
  std::map<std::string_view, std::size_t> index_;  // by the family's name
};

// `value` as a label's value stands between quotes: \, " and line feeds escaped; what is not UTF-8
// as U+FFFD, since a reader drops a whole page for one such byte.
std::string escaped(std::string_view value);

}  // namespace nacelle::metrics
