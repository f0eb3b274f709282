// nacellectl quantize: a smaller model beside one, with its gate's report.
#include "ctl/command.h"
#include "ctl/quantized.h"
#include "sidecar/quantize/compare.h"

namespace nacelle::ctl {
namespace {

constexpr std::size_t kKeepMax = 8;  // layers that may stay as they were

base::Status run(std::span<const std::string_view> args, Output& out) {
  if (args.size() < 4) {
    return base::Error{
        base::Code::kInvalid,
        "give the model's folder, the new one, a scheme (int8, bf16, f16) and a file "
        "of inputs, a line each"};
  }
  const auto scheme = quantize::scheme_from_name(args[2]);
  if (!scheme) {
    return base::Error{base::Code::kInvalid, "there is no scheme \"" + std::string(args[2]) +
                                                 "\"; there are int8, bf16 and f16"};
  }
  auto inputs = read_inputs(std::string(args[3]));
  if (!inputs) return inputs.error();
  auto backend = kernels::create_backend("auto", 1);
  if (!backend) return backend.error();
  const auto gated = quantize::quantize(
      *scheme,
      {.source = std::string(args[0]),
       .quantized = std::string(args[1]),
       .inputs = std::move(*inputs),
       .sensitivity_inputs = *scheme == quantize::Scheme::kInt8 ? kSensitivityInputs : 0},
      kKeepMax, **backend);
  if (!gated) return gated.error();
  show(gated->report, gated->kept, out);
  return verdict_status(gated->report);
}

}  // namespace

extern const Command kQuantize{
    .name = "quantize",
    .arguments = "MODEL NEW SCHEME INPUTS",
    .arguments_max = 4,
    .summary = "write a model with smaller weights, and measure what that does to its answers",
    .help =
        "MODEL and NEW are folders. SCHEME is int8 (8-bit arithmetic, fastest), bf16 or f16\n"
        "(storage). INPUTS is a file of texts as your callers send them, a line each, at least\n"
        "1,000; for a reranker a query and a document with a tab between them. When the answers\n"
        "move too far, up to 8 of the worst layers stay as they are. The report is written to\n"
        "NEW/gate.json; nacelled loads quantized weights only with one. Needs no sidecar.",
    .run_alone = run,
};

}  // namespace nacelle::ctl
