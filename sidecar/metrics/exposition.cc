#include "sidecar/metrics/exposition.h"

#include <cstdio>

#include "sidecar/base/check.h"
#include "sidecar/base/utf8.h"

namespace nacelle::metrics {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

std::string_view type_name(Type type) {
  switch (type) {
    case Type::kCounter:
      return "counter";
    case Type::kGauge:
      return "gauge";
    case Type::kHistogram:
      return "histogram";
  }
  return "untyped";
}

// A count stays exact; what has a unit has 12 digits, more than a histogram knows.
std::string number(std::uint64_t value, double scale) {
  if (scale == 1) return std::to_string(value);
  char text[32];
  std::snprintf(text, sizeof text, "%.12g", static_cast<double>(value) * scale);
  return text;
}

// {service="minilm",stage="copy"}, or nothing without labels.
std::string braces(const Labels& labels, std::string_view le = {}) {
  std::string text;
  const auto append = [&text](std::string_view name, const std::string& value) {
    text += text.empty() ? "{" : ",";
    text += name;
    text += "=\"" + value + "\"";
  };
  for (const Label& label : labels) append(label.name, escaped(label.value));
  if (!le.empty()) append("le", std::string(le));
  return text.empty() ? text : text + "}";
}

}  // namespace

std::string escaped(std::string_view value) {
  std::string text;
  while (!value.empty()) {
    const auto bad = base::find_invalid_utf8(value);
    for (const char c : value.substr(0, bad.value_or(value.size()))) {
      if (c == '\n') {
        text += "\\n";
      } else {
        if (c == '\\' || c == '"') text += '\\';
        text += c;
      }
    }
    if (!bad) break;
    text += kReplacement;
    value.remove_prefix(*bad + 1);
  }
  return text;
}

Exposition::Part& Exposition::part_of(const Family& family, const Labels& labels) {
  const auto [place, fresh] = index_.try_emplace(family.name, parts_.size());
  if (fresh) {
    parts_.push_back({family, {}, {}});
    for (const Label& label : labels) parts_.back().label_names.emplace_back(label.name);
  }
  Part& part = parts_[place->second];
  // Two declarations of one name would make a page that readers refuse.
  CHECK(part.family.help == family.help && part.family.type == family.type);
  CHECK(part.label_names.size() == labels.size());
  return part;
}

void Exposition::add(const Family& family, const Labels& labels, std::uint64_t value) {
  CHECK(family.type != Type::kHistogram);
  part_of(family, labels).samples +=
      std::string(family.name) + braces(labels) + " " + number(value, family.scale) + "\n";
}

void Exposition::add(const Family& family, const Labels& labels, const Histogram& metric) {
  CHECK(family.type == Type::kHistogram);
  std::string& out = part_of(family, labels).samples;
  const Histogram::Snapshot now = metric.snapshot();
  const std::string name(family.name);
  std::uint64_t total = 0;
  std::size_t bucket = 0;
  for (unsigned power = family.bounds.first; power <= family.bounds.last; ++power) {
    const std::uint64_t bound = std::uint64_t{1} << power;
    for (; bucket < Histogram::kBuckets && Histogram::upper(bucket) <= bound; ++bucket) {
      total += now.buckets[bucket];
    }
    out += name + "_bucket" + braces(labels, number(bound, family.scale)) + " " +
           std::to_string(total) + "\n";
  }
  out += name + "_bucket" + braces(labels, "+Inf") + " " + std::to_string(now.count) + "\n";
  out += name + "_sum" + braces(labels) + " " + number(now.sum, family.scale) + "\n";
  out += name + "_count" + braces(labels) + " " + std::to_string(now.count) + "\n";
}

std::string Exposition::text() const {
  std::string page;
  for (const Part& part : parts_) {
    const std::string name(part.family.name);
    page += "# HELP " + name + " " + std::string(part.family.help) + "\n";
    page += "# TYPE " + name + " " + std::string(type_name(part.family.type)) + "\n";
    page += part.samples;
  }
  return page;
}

std::string Exposition::markdown() const {
  std::string table = "| name | type | labels | what |\n|---|---|---|---|\n";
  for (const Part& part : parts_) {
    std::string labels;
    for (const std::string& name : part.label_names)
      labels += (labels.empty() ? "`" : ", `") + name + "`";
    table += "| `" + std::string(part.family.name) + "` | " +
             std::string(type_name(part.family.type)) + " | " + labels + " | " +
             std::string(part.family.help) + " |\n";
  }
  return table;
}

}  // namespace nacelle::metrics
