// The gate's report: what was compared, what was measured, what was decided. It lies beside the
// quantized weights, and names both models by their content, so that it cannot vouch for another.
#pragma once

#include <cstdint>
#include <string>

#include "sidecar/base/result.h"
#include "sidecar/quantize/gate.h"

namespace nacelle::quantize {

inline constexpr char kReportFile[] = "gate.json";
inline constexpr std::uint32_t kReportVersion = 1;

// How fast and how large, both models on the same machine in the same run. 0: not measured.
struct Cost {
  double source_texts_per_second = 0;
  double quantized_texts_per_second = 0;
  std::uint64_t source_bytes = 0;  // of weights in memory
  std::uint64_t quantized_bytes = 0;
};

struct Report {
  std::string source_digest;     // SHA-256 of the source model, lower-case hex
  std::string quantized_digest;  // and of the quantized one
  std::string scheme;            // scheme_name(); "float": read as it is
  std::string inputs_digest;     // SHA-256 of the inputs
  std::uint64_t seed = 0;        // that drew them and the queries
  Evidence evidence = {};
  Thresholds thresholds = {};
  Judgement judgement = {};
  Cost cost = {};

  // Whether the quantized model is worth loading for its speed: no is "memory only".
  [[nodiscard]] bool faster() const {
    return cost.quantized_texts_per_second > cost.source_texts_per_second;
  }
};

// JSON, indented, keys sorted: the same report gives the same bytes.
std::string to_json(const Report& report);

// Writes it into the quantized model's folder, whole or not at all.
base::Status write_report(const std::string& folder, const Report& report);

// What a loader needs of a report. kInvalid names the file and what is wrong with it.
struct Vouch {
  std::string source_digest;
  std::string quantized_digest;
  Verdict verdict = Verdict::kRefuse;
  std::string reasons = {};  // joined with "; "
};
base::Result<Vouch> read_report(const std::string& path);

// Whether a quantized model may be loaded: kDenied with the reason when there is no report beside
// it, the report is about other files, or its verdict is refuse.
base::Status check_gate(const std::string& folder, const std::string& digest);

}  // namespace nacelle::quantize
