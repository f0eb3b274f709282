// See compare.h.
#include "sidecar/quantize/compare.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include "sidecar/base/time.h"
#include "sidecar/model/model.h"
#include "sidecar/quantize/folder_tensors.h"
#include "sidecar/store/store.h"

namespace nacelle::quantize {
namespace {

using base::Code;
using base::Error;
using model::Model;
using model::Task;

constexpr std::size_t kBatchTokens = 4096;
constexpr std::size_t kQueriesMax = 256;  // inputs that rank all others

// Inputs as token ids, in batches.
struct Tokens {
  struct Batch {
    std::vector<std::uint32_t> ids, types, offsets = {0};
    [[nodiscard]] std::size_t size() const { return offsets.size() - 1; }
  };
  std::vector<Batch> batches;

  void add(const tokenizer::Encoding& encoding) {
    if (batches.empty() || batches.back().ids.size() + encoding.ids.size() > kBatchTokens) {
      batches.emplace_back();
    }
    Batch& batch = batches.back();
    batch.ids.insert(batch.ids.end(), encoding.ids.begin(), encoding.ids.end());
    batch.types.insert(batch.types.end(), encoding.types.begin(), encoding.types.end());
    batch.offsets.push_back(static_cast<std::uint32_t>(batch.ids.size()));
  }
};

base::Result<Tokens> tokenize(const Model& model, const std::vector<std::string>& inputs) {
  Tokens tokens;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const std::string_view text = inputs[i];
    const std::size_t tab = text.find('\t');
    const bool pair = model.info().reranks;
    if (pair && tab == std::string_view::npos) {
      return Error{Code::kInvalid,
                   "input " + std::to_string(i + 1) +
                       ": this model reranks, so an input is a query and a document "
                       "with a tab between them"};
    }
    const auto limit = model.info().tokens_max;
    const auto encoding =
        pair ? model.tokenizer().encode_pair(text.substr(0, tab), text.substr(tab + 1), limit)
             : model.tokenizer().encode(text, limit);
    if (!encoding) return encoding.error().in("input " + std::to_string(i + 1));
    if (encoding->ids.empty()) {
      return Error{Code::kInvalid, "input " + std::to_string(i + 1) + ": has no tokens"};
    }
    tokens.add(*encoding);
  }
  return tokens;
}

Task task_of(const Model& model) {
  return model.info().can(Task::kClassify) ? Task::kClassify : Task::kEmbed;
}

struct Run {
  std::vector<float> rows;
  std::uint32_t width = 0;
  double texts_per_second = 0;
  [[nodiscard]] Answers answers() const { return {rows, width}; }
};

base::Result<Run> run(Model& model, const Tokens& tokens) {
  Run out;
  const Task task = task_of(model);
  out.width = model.info().row_width(task);
  std::size_t texts = 0;
  for (const Tokens::Batch& batch : tokens.batches) texts += batch.size();
  out.rows.resize(texts * out.width);
  float* row = out.rows.data();
  const base::Nanos begin = base::now_ns();
  for (const Tokens::Batch& batch : tokens.batches) {
    std::vector<float*> rows;
    for (std::size_t i = 0; i < batch.size(); ++i, row += out.width) rows.push_back(row);
    const auto status = model.run(task, {batch.ids, batch.types, batch.offsets}, rows);
    if (!status) return status.error();
  }
  const auto seconds = static_cast<double>(base::now_ns() - begin) / 1e9;
  out.texts_per_second = static_cast<double>(texts) / std::max(seconds, 1e-9);
  return out;
}

// How a model's linear layers are stored.
std::string scheme_of(const model::Info& info) {
  return std::string(info.quantized ? scheme_name(Scheme::kInt8) : "float");
}

// The layers' weights in both folders.
base::Result<std::vector<LayerDistance>> measure_layers(const Comparison& comparison,
                                                        const model::Info& info) {
  const auto before = FolderTensors::open(comparison.source);
  if (!before) return before.error();
  const auto after = FolderTensors::open(comparison.quantized);
  if (!after) return after.error();
  std::vector<LayerDistance> layers;
  for (const auto& parts : info.layers) {
    for (const std::string& part : parts) {
      const auto a = before->layer(part);
      const auto b = after->layer(part);
      if (!a || !b || a->values.size() != b->values.size() || a->inputs != b->inputs) {
        return Error{Code::kInvalid,
                     after->path() + ": layer " + part + " is not that of " + before->path()};
      }
      layers.push_back(measure_layer(part, a->values, b->values, a->inputs));
    }
  }
  return layers;
}

// Of each packed layer, for all its parts.
base::Status measure_sensitivity(const Comparison& comparison, const Model& source,
                                 kernels::Backend& backend, std::vector<LayerDistance>& layers) {
  const std::size_t count = std::min(comparison.sensitivity_inputs, comparison.inputs.size());
  if (count == 0) return base::ok();
  const auto tokens = tokenize(
      source,
      {comparison.inputs.begin(), comparison.inputs.begin() + static_cast<std::ptrdiff_t>(count)});
  if (!tokens) return tokens.error();
  auto exact = model::load(comparison.source, backend);
  if (!exact) return exact.error();
  const auto expected = run(**exact, *tokens);
  if (!expected) return expected.error();
  for (const auto& parts : source.info().layers) {
    auto one = model::load(comparison.source, backend,
                           {.precision = model::Precision::kInt8, .only = parts.front()});
    if (!one) return one.error();
    const auto rows = run(**one, *tokens);
    if (!rows) return rows.error();
    const double moved = 1 - measure_cosine(expected->answers(), rows->answers()).mean;
    for (LayerDistance& layer : layers) {
      if (std::ranges::find(parts, layer.name) != parts.end()) layer.sensitivity = moved;
    }
  }
  return base::ok();
}

Evidence evidence_of(const Comparison& comparison, const model::Info& info, const Run& before,
                     const Run& after) {
  Evidence evidence{.inputs = comparison.inputs.size()};
  const Answers a = before.answers();
  const Answers b = after.answers();
  if (info.reranks) {
    // All scores as one order: documents of one query keep theirs when all do.
    if (!a.rows.empty()) evidence.ranks = measure_rerank(a.rows, b.rows, a.rows.size());
    return evidence;
  }
  evidence.cosine = measure_cosine(a, b);
  if (info.can(Task::kClassify)) {
    evidence.flips = measure_flips(a, b, info.multi_label);
  } else {
    evidence.ranks = measure_ranks(a, b, kQueriesMax, comparison.seed);
  }
  return evidence;
}

// The layers in the order in which the first of their parts comes in `distances`.
std::vector<Layer> worst_first(const std::vector<Layer>& layers,
                               const std::vector<LayerDistance>& distances) {
  std::vector<Layer> sorted;
  for (const LayerDistance& distance : distances) {
    const auto layer = std::ranges::find_if(layers, [&](const Layer& candidate) {
      return std::ranges::find(candidate, distance.name) != candidate.end();
    });
    if (layer != layers.end() && std::ranges::find(sorted, *layer) == sorted.end()) {
      sorted.push_back(*layer);
    }
  }
  return sorted;
}

}  // namespace

base::Result<Report> compare(const Comparison& comparison, kernels::Backend& backend) {
  auto source = model::load(comparison.source, backend);
  if (!source) return source.error();
  auto other = model::load(comparison.quantized, backend);
  if (!other) return other.error();
  const model::Info& info = (*source)->info();
  const model::Info& other_info = (*other)->info();
  if (info.architecture != other_info.architecture || info.labels != other_info.labels ||
      info.embed_width != other_info.embed_width) {
    return Error{Code::kInvalid, comparison.quantized + " is not a form of " + comparison.source +
                                     ": architecture, width or labels differ"};
  }
  const auto tokens = tokenize(**source, comparison.inputs);
  if (!tokens) return tokens.error();
  // Once before it counts: the first run meets cold memory.
  if (const auto warm = run(**source, *tokens); !warm) return warm.error();
  const auto before = run(**source, *tokens);
  if (!before) return before.error();
  if (const auto warm = run(**other, *tokens); !warm) return warm.error();
  const auto after = run(**other, *tokens);
  if (!after) return after.error();

  auto inputs_digest = store::digest_of(comparison.inputs);
  if (!inputs_digest) return inputs_digest.error();

  Report report{.source_digest = info.digest,
                .quantized_digest = other_info.digest,
                .scheme = scheme_of(other_info),
                .inputs_digest = std::move(*inputs_digest),
                .seed = comparison.seed};
  report.evidence = evidence_of(comparison, info, *before, *after);
  auto layers = measure_layers(comparison, info);
  if (!layers) return layers.error();
  report.evidence.layers = std::move(*layers);
  const auto ranked = measure_sensitivity(comparison, **source, backend, report.evidence.layers);
  if (!ranked) return ranked.error();
  sort_worst_first(report.evidence.layers);
  report.thresholds = comparison.thresholds;
  report.judgement = judge(report.evidence, report.thresholds);
  report.cost = {.source_texts_per_second = before->texts_per_second,
                 .quantized_texts_per_second = after->texts_per_second,
                 .source_bytes = info.memory_bytes,
                 .quantized_bytes = other_info.memory_bytes};
  return report;
}

base::Result<Gated> quantize(Scheme scheme, Comparison comparison, std::size_t keep_max,
                             kernels::Backend& backend) {
  auto layers = layers_of(comparison.source, backend);
  if (!layers) return layers.error();
  Conversion conversion{.source = comparison.source,
                        .target = comparison.quantized,
                        .scheme = scheme,
                        .layers = std::move(*layers)};
  std::vector<LayerDistance> first;  // as the first report has them
  std::vector<Layer> worst;          // so do these stay as they are, one by one
  for (;;) {
    const auto converted = convert(conversion);
    if (!converted) return converted.error();
    auto report = compare(comparison, backend);
    if (!report) return report.error();
    report->scheme = scheme_name(scheme);
    std::vector<LayerDistance>& distances = report->evidence.layers;
    if (conversion.keep.empty()) {
      first = distances;
      worst = worst_first(conversion.layers, first);
      worst.resize(std::min(worst.size(), keep_max));
      comparison.sensitivity_inputs = 0;  // what one layer does does not depend on the others
    } else {
      for (LayerDistance& layer : distances) {
        layer.sensitivity = std::ranges::find(first, layer.name, &LayerDistance::name)->sensitivity;
      }
      sort_worst_first(distances);
    }
    const std::size_t kept = conversion.keep.size();
    if (report->judgement.verdict == Verdict::kPass || kept == worst.size()) {
      if (const auto written = write_report(conversion.target, *report); !written) {
        return written.error();
      }
      return Gated{std::move(*report), std::move(conversion.keep)};
    }
    std::error_code failure;
    std::filesystem::remove_all(conversion.target, failure);
    if (failure) return Error{Code::kUnavailable, conversion.target + ": " + failure.message()};
    conversion.keep.push_back(worst[kept]);
  }
}

base::Result<std::vector<Layer>> layers_of(const std::string& folder, kernels::Backend& backend) {
  const auto loaded = model::load(folder, backend);
  if (!loaded) return loaded.error();
  return (*loaded)->info().layers;
}

}  // namespace nacelle::quantize
