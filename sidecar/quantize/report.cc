#include "sidecar/quantize/report.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "sidecar/base/log.h"
#include "sidecar/files/json.h"

namespace nacelle::quantize {
namespace {

using files::Json;

constexpr std::size_t kReportSizeMax = 16U << 20;

// JSON has no infinity or NaN; null says that the number was not one.
Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json limit(const Limit& limit) { return {{"pass", limit.pass}, {"refuse", limit.refuse}}; }

Json answers(const Evidence& evidence) {
  Json out = Json::object();
  if (const auto& cosine = evidence.cosine) {
    out["cosine"] = {{"least", number(cosine->least)},
                     {"p1", number(cosine->p1)},
                     {"p50", number(cosine->p50)},
                     {"mean", number(cosine->mean)}};
  }
  if (const auto& flips = evidence.flips) {
    out["labels"] = {{"inputs", flips->inputs},
                     {"flipped", flips->flipped},
                     {"share", number(flips->share())},
                     {"probability_moved_most", number(flips->probability_moved)}};
  }
  if (const auto& ranks = evidence.ranks) {
    out["ranks"] = {{"queries", ranks->queries},
                    {"first_kept", number(ranks->first_kept)},
                    {"ten_kept", number(ranks->ten_kept)},
                    {"spearman", number(ranks->spearman)}};
  }
  return out;
}

Json layers(const Evidence& evidence) {
  Json out = Json::array();
  for (const LayerDistance& layer : evidence.layers) {
    Json entry = {{"name", layer.name},
                  {"relative_error", number(layer.relative_error)},
                  {"worst_row_error", number(layer.worst_row_error)}};
    if (layer.sensitivity) entry["sensitivity"] = number(*layer.sensitivity);
    out.push_back(std::move(entry));
  }
  return out;
}

}  // namespace

std::string to_json(const Report& report) {
  const Thresholds& limits = report.thresholds;
  const Json json = {
      {"version", kReportVersion},
      {"source_digest", report.source_digest},
      {"quantized_digest", report.quantized_digest},
      {"scheme", report.scheme},
      {"inputs", {{"count", report.evidence.inputs}, {"digest", report.inputs_digest}}},
      {"seed", report.seed},
      {"verdict", verdict_name(report.judgement.verdict)},
      {"reasons", report.judgement.reasons},
      {"answers", answers(report.evidence)},
      {"layers", layers(report.evidence)},
      {"thresholds",
       {{"inputs_min", limits.inputs_min},
        {"cosine_p1", limit(limits.cosine_p1)},
        {"flips", limit(limits.flips)},
        {"first_kept", limit(limits.first_kept)},
        {"spearman", limit(limits.spearman)},
        {"layer_error", limit(limits.layer_error)},
        {"row_error", limit(limits.row_error)}}},
      {"cost",
       {{"source_texts_per_second", number(report.cost.source_texts_per_second)},
        {"quantized_texts_per_second", number(report.cost.quantized_texts_per_second)},
        {"source_bytes", report.cost.source_bytes},
        {"quantized_bytes", report.cost.quantized_bytes}}}};
  return json.dump(2) + "\n";
}

base::Status write_report(const std::string& folder, const Report& report) {
  const std::string path = folder + "/" + kReportFile;
  const std::string partial = path + ".partial";
  std::ofstream file(partial, std::ios::binary | std::ios::trunc);
  file << to_json(report);
  file.close();
  std::error_code failure;
  if (!file.fail()) std::filesystem::rename(partial, path, failure);
  if (file.fail() || failure) {
    return base::Error{base::Code::kUnavailable, path + ": cannot be written"};
  }
  return base::ok();
}

base::Result<Vouch> read_report(const std::string& path) {
  const auto json = files::read_json(path, kReportSizeMax);
  if (!json) return json.error();
  const auto bad = [&](const std::string& what) {
    return base::Error{base::Code::kInvalid,
                       path + ": " + what + ": not a gate report of this version; quantize again"};
  };
  if (!json->is_object() || json->value("version", Json()) != kReportVersion) {
    return bad("\"version\" is not " + std::to_string(kReportVersion));
  }
  const auto text = [&](const char* key) -> std::string {
    const Json value = json->value(key, Json());
    return value.is_string() ? value.get<std::string>() : "";
  };
  Vouch vouch{.source_digest = text("source_digest"), .quantized_digest = text("quantized_digest")};
  if (vouch.source_digest.empty() || vouch.quantized_digest.empty()) {
    return bad("\"source_digest\" or \"quantized_digest\" is missing");
  }
  bool known = false;
  for (const Verdict verdict : {Verdict::kPass, Verdict::kWarn, Verdict::kRefuse}) {
    if (text("verdict") != verdict_name(verdict)) continue;
    vouch.verdict = verdict;
    known = true;
  }
  if (!known) return bad("\"verdict\" is neither pass, warn nor refuse");
  for (const Json& reason : json->value("reasons", Json::array())) {
    if (!reason.is_string()) return bad("\"reasons\" holds something else than texts");
    vouch.reasons += (vouch.reasons.empty() ? "" : "; ") + reason.get<std::string>();
  }
  return vouch;
}

base::Status check_gate(const std::string& folder, const std::string& digest) {
  const auto denied = [&](const std::string& why) {
    return base::Error{base::Code::kDenied, folder + ": its weights are quantized, and " + why};
  };
  const auto vouch = read_report(folder + "/" + kReportFile);
  if (!vouch && vouch.error().code == base::Code::kNotFound) {
    return denied(std::string("there is no ") + kReportFile +
                  " that says how well: make one with nacellectl gate");
  }
  if (!vouch) return vouch.error();
  if (vouch->quantized_digest != digest) {
    return denied(std::string(kReportFile) + " is about other files (" +
                  vouch->quantized_digest.substr(0, 12) + ", these are " + digest.substr(0, 12) +
                  "): make one with nacellectl gate");
  }
  if (vouch->verdict == Verdict::kRefuse) {
    return denied(std::string(kReportFile) + " refuses them: " + vouch->reasons);
  }
  if (vouch->verdict == Verdict::kWarn) {
    base::log_warn("quantized weights are loaded with a warning of their gate",
                   {{"model", folder}, {"reason", vouch->reasons}});
  }
  return base::ok();
}

}  // namespace nacelle::quantize
