#include "ctl/top.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <span>
#include <string_view>

#include "ctl/output.h"

namespace nacelle::ctl {
namespace {

using control::ClientStatistics;
using control::ServiceStatistics;
using control::Statistics;
using Side = Output::Side;

// The stages' columns, the most telling first: what a narrow terminal cuts off is on the right.
constexpr std::array<std::size_t, 7> kStageOrder = {6, 2, 3, 1, 0, 4, 5};

class Rates {
 public:
  Rates(const Statistics& before, const Statistics& now)
      : seconds_(static_cast<double>(now.uptime_ns - std::min(before.uptime_ns, now.uptime_ns)) /
                 1e9) {}
  // Counts go back when an account's place has another one now: that is no rate.
  [[nodiscard]] double per_second(std::uint64_t before, std::uint64_t now) const {
    return seconds_ > 0 && now > before ? static_cast<double>(now - before) / seconds_ : 0;
  }
  // Of nanoseconds that were spent on something, the share of the time that went by, in percent.
  [[nodiscard]] double percent(std::uint64_t before_ns, std::uint64_t now_ns) const {
    return per_second(before_ns, now_ns) / 1e7;
  }

 private:
  double seconds_;
};

std::string rate_text(double rate) {
  if (rate >= 100) return count_text(static_cast<std::uint64_t>(rate + 0.5));
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", rate);
  return text;
}
std::string percent_text(double percent) {
  char text[32];
  std::snprintf(text, sizeof text, "%.0f %%", percent);
  return text;
}

template <typename Entry>
std::span<const Entry> used(std::span<const Entry> all, std::uint64_t count) {
  return all.first(std::min<std::size_t>(all.size(), count));
}

// The same client or service in the earlier reading, or one that has counted nothing.
const ServiceStatistics& earlier(const Statistics& before, const ServiceStatistics& service) {
  static const ServiceStatistics kNone;
  for (const ServiceStatistics& one :
       used<ServiceStatistics>(before.services, before.service_count)) {
    if (std::strcmp(one.name, service.name) == 0) return one;
  }
  return kNone;
}
const ClientStatistics& earlier(const Statistics& before, const ClientStatistics& client) {
  static const ClientStatistics kNone;
  for (const ClientStatistics& one : used<ClientStatistics>(before.clients, before.client_count)) {
    if (one.uid == client.uid && std::strcmp(one.name, client.name) == 0) return one;
  }
  return kNone;
}

// Those that have asked for anything, the busiest first.
std::vector<const ClientStatistics*> active_clients(const Statistics& before, const Statistics& now,
                                                    const Rates& rates) {
  std::vector<const ClientStatistics*> clients;
  for (const ClientStatistics& one : used<ClientStatistics>(now.clients, now.client_count)) {
    if (one.requests > 0 || one.errors > 0) clients.push_back(&one);
  }
  const auto share = [&](const ClientStatistics* one) {
    return rates.percent(earlier(before, *one).compute_ns, one->compute_ns);
  };
  std::stable_sort(clients.begin(), clients.end(),
                   [&](const auto* a, const auto* b) { return share(a) > share(b); });
  return clients;
}

void add_services(const Statistics& before, const Statistics& now, const Rates& rates,
                  Output& out) {
  std::vector<std::vector<std::string>> rows;
  std::vector<std::vector<std::string>> times;
  for (const ServiceStatistics& one : used<ServiceStatistics>(now.services, now.service_count)) {
    const ServiceStatistics& was = earlier(before, one);
    rows.push_back({one.name, rate_text(rates.per_second(was.requests, one.requests)),
                    rate_text(rates.per_second(was.texts, one.texts)),
                    rate_text(rates.per_second(was.tokens, one.tokens)),
                    percent_text(rates.percent(was.compute_ns, one.compute_ns)),
                    count_text(one.batch_texts_p50),
                    std::to_string(one.batch_fill_percent_p50) + " %", count_text(one.errors)});
    auto& cells = times.emplace_back();
    cells.emplace_back(one.name);
    for (const std::size_t stage : kStageOrder) {
      const control::StageStatistics& at = one.stages[stage];
      cells.push_back(at.count == 0 ? "" : time_text(at.p50_ns) + "/" + time_text(at.p99_ns));
    }
  }
  out.heading("services");
  out.table({{"name"},
             {"requests/s", Side::kRight},
             {"texts/s", Side::kRight},
             {"tokens/s", Side::kRight},
             {"compute", Side::kRight},
             {"batch", Side::kRight},
             {"fill", Side::kRight},
             {"errors", Side::kRight}},
            rows);
  out.heading("time, half of the requests / all but one in a hundred within");
  std::vector<Output::Column> columns{{"name"}};
  for (const std::size_t stage : kStageOrder) {
    columns.push_back({control::kStatisticsStages[stage], Side::kRight});
  }
  out.table(columns, times);
}

void add_clients(const Statistics& before, const Statistics& now, const Rates& rates, Output& out) {
  out.heading("clients");
  std::vector<std::vector<std::string>> rows;
  for (const ClientStatistics* one : active_clients(before, now, rates)) {
    const ClientStatistics& was = earlier(before, *one);
    rows.push_back({one->name, std::to_string(one->uid),
                    rate_text(rates.per_second(was.requests, one->requests)),
                    rate_text(rates.per_second(was.texts, one->texts)),
                    rate_text(rates.per_second(was.tokens, one->tokens)),
                    percent_text(rates.percent(was.compute_ns, one->compute_ns)),
                    count_text(one->errors)});
  }
  if (rows.empty()) return out.line("  none has asked for anything");
  out.table({{"name"},
             {"uid", Side::kRight},
             {"requests/s", Side::kRight},
             {"texts/s", Side::kRight},
             {"tokens/s", Side::kRight},
             {"device", Side::kRight},
             {"errors", Side::kRight}},
            rows);
}

}  // namespace

std::string time_text(std::uint64_t ns) {
  char text[32];
  const auto value = static_cast<double>(ns);
  if (ns < 9'950) {
    std::snprintf(text, sizeof text, "%.1fus", value / 1e3);
  } else if (ns < 1'000'000) {
    std::snprintf(text, sizeof text, "%.0fus", value / 1e3);
  } else if (ns < 99'950'000) {
    std::snprintf(text, sizeof text, "%.1fms", value / 1e6);
  } else if (ns < 9'999'500'000) {
    std::snprintf(text, sizeof text, "%.0fms", value / 1e6);
  } else {
    std::snprintf(text, sizeof text, "%.0fs", value / 1e9);
  }
  return text;
}

std::string top_text(const Statistics& before, const Statistics& now) {
  const Rates rates(before, now);
  Output out(false);
  out.heading(std::string("nacelled ") + (now.serving != 0 ? "serving" : "draining") + ", up " +
              duration_text(now.uptime_ns / 1'000'000'000));
  out.row("requests/s", rate_text(rates.per_second(before.requests, now.requests)) + " (" +
                            rate_text(rates.per_second(before.refused, now.refused)) + " refused)");
  out.row("texts/s", rate_text(rates.per_second(before.texts, now.texts)) + " (" +
                         rate_text(rates.per_second(before.tokens, now.tokens)) + " tokens)");
  out.row("device", percent_text(rates.percent(before.busy_ns, now.busy_ns)) + " busy, " +
                        rate_text(rates.per_second(before.batches, now.batches)) + " batches/s");
  out.row("queue", count_text(now.queued_requests) + " requests, " + count_text(now.queued_tokens) +
                       " tokens; " + count_text(now.in_flight) + " in flight");
  out.row("connections", count_text(now.connections));
  out.row("memory", bytes_text(now.resident_bytes) + " resident");
  add_services(before, now, rates, out);
  add_clients(before, now, rates, out);
  return out.text();
}

nlohmann::json top_json(const Statistics& before, const Statistics& now) {
  const Rates rates(before, now);
  nlohmann::json document = {
      {"uptime_ns", now.uptime_ns},
      {"interval_ns", now.interval_ns},
      {"state", now.serving != 0 ? "serving" : "draining"},
      {"requests", now.requests},
      {"requests_per_s", rates.per_second(before.requests, now.requests)},
      {"refused", now.refused},
      {"texts", now.texts},
      {"texts_per_s", rates.per_second(before.texts, now.texts)},
      {"tokens", now.tokens},
      {"batches", now.batches},
      {"busy_ns", now.busy_ns},
      {"busy_percent", rates.percent(before.busy_ns, now.busy_ns)},
      {"queued_requests", now.queued_requests},
      {"queued_tokens", now.queued_tokens},
      {"in_flight", now.in_flight},
      {"connections", now.connections},
      {"resident_bytes", now.resident_bytes},
      {"services", nlohmann::json::array()},
      {"clients", nlohmann::json::array()},
  };
  for (const ServiceStatistics& one : used<ServiceStatistics>(now.services, now.service_count)) {
    nlohmann::json stages = nlohmann::json::object();
    for (std::size_t i = 0; i < one.stages.size(); ++i) {
      stages[control::kStatisticsStages[i]] = {{"count", one.stages[i].count},
                                               {"p50_ns", one.stages[i].p50_ns},
                                               {"p99_ns", one.stages[i].p99_ns}};
    }
    const ServiceStatistics& was = earlier(before, one);
    document["services"].push_back(
        {{"name", one.name},
         {"requests", one.requests},
         {"requests_per_s", rates.per_second(was.requests, one.requests)},
         {"texts", one.texts},
         {"tokens", one.tokens},
         {"batches", one.batches},
         {"errors", one.errors},
         {"compute_ns", one.compute_ns},
         {"batch_texts_p50", one.batch_texts_p50},
         {"batch_fill_percent_p50", one.batch_fill_percent_p50},
         {"stages", std::move(stages)}});
  }
  for (const ClientStatistics& one : used<ClientStatistics>(now.clients, now.client_count)) {
    const ClientStatistics& was = earlier(before, one);
    document["clients"].push_back(
        {{"name", one.name},
         {"uid", one.uid},
         {"requests", one.requests},
         {"requests_per_s", rates.per_second(was.requests, one.requests)},
         {"texts", one.texts},
         {"tokens", one.tokens},
         {"errors", one.errors},
         {"compute_ns", one.compute_ns},
         {"device_percent", rates.percent(was.compute_ns, one.compute_ns)}});
  }
  return document;
}

std::vector<std::string> fit(const std::string& text, std::size_t columns, std::size_t rows) {
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    while (display_width(line) > columns) {
      // A whole character at a time: its last byte, and those of the lead before it.
      while ((static_cast<unsigned char>(line.back()) & 0xc0U) == 0x80U) line.pop_back();
      line.pop_back();
    }
    lines.push_back(std::move(line));
    at = end + 1;
  }
  if (lines.size() > rows && rows > 0) {
    const std::size_t hidden = lines.size() - rows + 1;
    lines.resize(rows - 1);
    lines.push_back(("... " + std::to_string(hidden) + " more lines").substr(0, columns));
  }
  return lines;
}

}  // namespace nacelle::ctl
