// nacellectl status: is the sidecar well, what does it serve, and who uses it?
#include <nlohmann/json.hpp>

#include "ctl/command.h"

namespace nacelle::ctl {
namespace {

using Side = Output::Side;

void print_models(const std::vector<control::ModelReport>& models, Output& out) {
  out.heading("models");
  std::vector<std::vector<std::string>> rows;
  for (const control::ModelReport& model : models) {
    rows.push_back({model.name, list_text(model.tasks), bytes_text(model.memory_bytes),
                    count_text(model.requests), count_text(model.texts), count_text(model.tokens),
                    count_text(model.batches), count_text(model.errors)});
  }
  out.table({{"name"},
             {"tasks"},
             {"memory", Side::kRight},
             {"requests", Side::kRight},
             {"texts", Side::kRight},
             {"tokens", Side::kRight},
             {"batches", Side::kRight},
             {"errors", Side::kRight}},
            rows);
}

void print_clients(const std::vector<control::ClientReport>& clients, Output& out) {
  out.heading("clients");
  if (clients.empty()) return out.line("  none connected");
  std::vector<std::vector<std::string>> rows;
  for (const control::ClientReport& client : clients) {
    rows.push_back({std::to_string(client.id), client.name, std::to_string(client.uid),
                    client.pid == 0 ? "" : std::to_string(client.pid),
                    duration_text(client.connected_s), count_text(client.requests),
                    count_text(client.texts), count_text(client.in_flight)});
  }
  out.table({{"id", Side::kRight},
             {"name"},
             {"uid", Side::kRight},
             {"pid", Side::kRight},
             {"connected", Side::kRight},
             {"requests", Side::kRight},
             {"texts", Side::kRight},
             {"in flight", Side::kRight}},
            rows);
}

// "2 generation, 1 socket"
std::string counts_text(const std::vector<control::NamedCount>& counts) {
  std::string text;
  for (const control::NamedCount& entry : counts) {
    text += (text.empty() ? "" : ", ") + count_text(entry.count) + " " + entry.name;
  }
  return text;
}

void print_totals(const control::StatusReport& status, Output& out) {
  const control::Totals& totals = status.totals;
  out.heading("since the start");
  out.row("requests", count_text(totals.requests));
  out.row("texts", count_text(totals.texts) + " (" + count_text(totals.tokens) + " tokens)");
  out.row("batches", count_text(totals.batches) + " (" + count_text(totals.batches_mixed) +
                         " with texts of several clients; largest " +
                         count_text(totals.batch_texts_max) + " texts)");
  out.row("not served", count_text(totals.busy) + " busy, " + count_text(totals.invalid) +
                            " invalid, " + count_text(totals.expired) + " expired, " +
                            count_text(totals.cancelled) + " cancelled");
  if (!status.violations.empty()) out.row("violations", counts_text(status.violations));
  if (!status.refused_connections.empty()) {
    out.row("refused", "connections: " + counts_text(status.refused_connections));
  }
  // A lost wake-up is a defect of ours: silent when there is none, loud when there is one.
  if (totals.rescued_by_timeout > 0) {
    out.row("rescued", count_text(totals.rescued_by_timeout) +
                           " wake-ups came from a timeout: please report this");
  }
}

base::Status run(std::span<const std::string_view>, control::Client& sidecar, Output& out) {
  const auto status = sidecar.status();
  if (!status) return status.error();
  if (out.wants_json()) {
    out.json(control::to_json(*status));
    return base::ok();
  }
  out.heading("nacelled " + status->version + ", " + status->state + ", up " +
              duration_text(status->uptime_s));
  out.row("pid", std::to_string(status->pid));
  out.row("backend", status->backend);
  out.row("threads", std::to_string(status->threads));
  out.row("socket", status->socket);
  out.row("memory", bytes_text(status->rss_bytes) + " resident");
  print_models(status->models, out);
  print_clients(status->clients, out);
  print_totals(*status, out);
  return base::ok();
}

}  // namespace

extern const Command kStatus{
    .name = "status",
    .arguments = "",
    .arguments_max = 0,
    .summary = "show what the sidecar serves, to whom, and how it fares",
    .help =
        "Counts are since the start of the sidecar. A text counts when it was computed; a batch\n"
        "with texts of several clients is one that a process alone could not have had.",
    .run = run,
};

}  // namespace nacelle::ctl
