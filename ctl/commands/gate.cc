// nacellectl gate: a report about a model that somebody else has quantized.
#include "ctl/command.h"
#include "ctl/quantized.h"
#include "sidecar/quantize/compare.h"

namespace nacelle::ctl {
namespace {

base::Status run(std::span<const std::string_view> args, Output& out) {
  if (args.size() < 3) {
    return base::Error{
        base::Code::kInvalid,
        "give the original model's folder, the quantized one's, and a file of inputs, "
        "a line each"};
  }
  auto inputs = read_inputs(std::string(args[2]));
  if (!inputs) return inputs.error();
  auto backend = kernels::create_backend("auto", 1);
  if (!backend) return backend.error();
  const auto report = quantize::compare({.source = std::string(args[0]),
                                         .quantized = std::string(args[1]),
                                         .inputs = std::move(*inputs),
                                         .sensitivity_inputs = kSensitivityInputs},
                                        **backend);
  if (!report) return report.error();
  const auto written = quantize::write_report(std::string(args[1]), *report);
  if (!written) return written.error();
  show(*report, {}, out);
  return verdict_status(*report);
}

}  // namespace

extern const Command kGate{
    .name = "gate",
    .arguments = "MODEL QUANTIZED INPUTS",
    .arguments_max = 3,
    .summary = "measure what a quantized model does to the original's answers",
    .help =
        "MODEL and QUANTIZED are folders, INPUTS a file of texts as your callers send them, a "
        "line\n"
        "each, at least 1,000. The report is written to QUANTIZED/gate.json, which nacelled asks\n"
        "for before it loads quantized weights. Needs no sidecar.",
    .run_alone = run,
};

}  // namespace nacelle::ctl
