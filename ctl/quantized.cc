// See quantized.h.
#include "ctl/quantized.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "sidecar/base/file.h"
#include "sidecar/base/utf8.h"

namespace nacelle::ctl {
namespace {

constexpr std::size_t kInputsSizeMax = 256U << 20;
constexpr std::size_t kLayersShown = 5;

std::string number(double value) {
  char text[32];
  static_cast<void>(std::snprintf(text, sizeof text, "%.4f", value));
  return text;
}

}  // namespace

base::Result<std::vector<std::string>> read_inputs(const std::string& path) {
  const auto text = base::read_file(path, kInputsSizeMax);
  if (!text) return text.error();
  if (const auto bad = base::find_invalid_utf8(*text)) {
    return base::Error{base::Code::kInvalid,
                       path + ": is not UTF-8 at byte " + std::to_string(*bad)};
  }
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < text->size();) {
    const std::size_t end = std::min(text->find('\n', begin), text->size());
    if (end > begin) lines.push_back(text->substr(begin, end - begin));
    begin = end + 1;
  }
  if (lines.empty()) return base::Error{base::Code::kInvalid, path + ": has no lines"};
  return lines;
}

void show(const quantize::Report& report, const std::vector<quantize::Layer>& kept, Output& out) {
  if (out.wants_json()) {
    nlohmann::json document = nlohmann::json::parse(quantize::to_json(report));
    document["kept"] = kept;
    out.json(document);
    return;
  }
  const quantize::Evidence& evidence = report.evidence;
  out.heading(quantize::verdict_name(report.judgement.verdict));
  for (const std::string& reason : report.judgement.reasons) out.row("because", reason);
  out.row("inputs", count_text(evidence.inputs));
  if (const auto& cosine = evidence.cosine) {
    out.row("cosine", "p1 " + number(cosine->p1) + ", p50 " + number(cosine->p50) + ", least " +
                          number(cosine->least));
  }
  if (const auto& flips = evidence.flips) {
    out.row("flips", count_text(flips->flipped) + " labels (" + number(100 * flips->share()) +
                         " %); a probability moved by at most " + number(flips->probability_moved));
  }
  if (const auto& ranks = evidence.ranks) {
    out.row("ranks", "best kept " + number(ranks->first_kept) + ", ten best kept " +
                         number(ranks->ten_kept) + ", correlation " + number(ranks->spearman));
  }
  for (std::size_t i = 0; i < std::min(kLayersShown, evidence.layers.size()); ++i) {
    const quantize::LayerDistance& layer = evidence.layers[i];
    out.row(i == 0 ? "worst layers" : "",
            layer.name + ": error " + number(layer.relative_error) +
                (layer.sensitivity ? ", moves answers by " + number(*layer.sensitivity) : ""));
  }
  for (std::size_t i = 0; i < kept.size(); ++i) {
    out.row(i == 0 ? "kept as they were" : "", list_text(kept[i]));
  }
  out.row("speed", count_text(static_cast<std::uint64_t>(report.cost.quantized_texts_per_second)) +
                       " texts/s, the source " +
                       count_text(static_cast<std::uint64_t>(report.cost.source_texts_per_second)) +
                       (report.faster() ? "" : ": not faster, for its memory only"));
  out.row("memory", bytes_text(report.cost.quantized_bytes) + ", the source " +
                        bytes_text(report.cost.source_bytes));
  out.row("digest", report.quantized_digest);
}

base::Status verdict_status(const quantize::Report& report) {
  if (report.judgement.verdict != quantize::Verdict::kRefuse) return base::ok();
  std::string reasons;
  for (const std::string& reason : report.judgement.reasons) {
    reasons += (reasons.empty() ? "" : "; ") + reason;
  }
  return base::Error{base::Code::kDenied, "the gate refuses the model: " + reasons};
}

}  // namespace nacelle::ctl
