// BERT: an encoder of post-norm layers, with mean or first-token pooling for embeddings and a
// classifier head over the first token. Devlin et al. 2018 (arXiv 1810.04805); tensor names and
// details as transformers' BertModel and BertForSequenceClassification.
//
// A batch is computed in waves: as many whole sequences as fit kWaveTokens. Sequences do not see
// each other, so the split changes no bit of the answer; it bounds the workspace, which is
// allocated once, and keeps a wave's activations in the caches between two ops.
#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "sidecar/model/architectures.h"
#include "sidecar/model/bert_config.h"
#include "sidecar/model/labels.h"
#include "sidecar/model/pooling.h"
#include "sidecar/model/token_limit.h"
#include "sidecar/model/weights.h"
#include "sidecar/store/store.h"

namespace nacelle::model {
namespace {

// Measured with all-MiniLM-L6-v2, 64 texts of 128 tokens, one AVX-512 thread, medians of three
// runs: 45.7 texts per CPU second at 512, 44.5 at 1024, 44.4 without waves; workspace and packed
// weights take 48, 53 and 119 MB.
constexpr std::uint32_t kWaveTokens = 512;     // a longer text is a wave of its own
constexpr std::uint32_t kWaveSequences = 128;  // bounds the pooled rows

struct Norm {
  std::vector<float> gamma;  // [width]
  std::vector<float> beta;   // [width]
};

struct Layer {
  std::unique_ptr<kernels::PackedLinear> qkv;  // width -> 3 width: query, key, value
  std::unique_ptr<kernels::PackedLinear> mix;  // width -> width: the attention's output
  Norm mix_norm;
  std::unique_ptr<kernels::PackedLinear> widen;   // width -> intermediate
  std::unique_ptr<kernels::PackedLinear> narrow;  // intermediate -> width
  Norm out_norm;
};

struct Head {
  std::unique_ptr<kernels::PackedLinear> pooler;      // width -> width, tanh
  std::unique_ptr<kernels::PackedLinear> classifier;  // width -> labels
};

// Everything that load reads and run only looks at.
struct Parts {
  BertConfig config;
  SentencePooling pooling;
  Info info;
  std::unique_ptr<tokenizer::Tokenizer> tokenizer;
  std::optional<Weights> weights;  // keeps the tables' mapping
  kernels::Tensor words, positions, types;
  Norm embed_norm;
  std::vector<Layer> layers;
  Head head;  // empty for BertModel
};

// One wave's activations. Rows are tokens, except for `pooled`.
struct Workspace {
  kernels::Buffer hidden;  // [tokens, width]   the token vectors between two layers
  kernels::Buffer sum;     // [tokens, width]   a sublayer's output plus its input, before the norm
  kernels::Buffer wide;    // [tokens, max(3 width + width, intermediate)]  qkv and context, or
                           //                   the feed-forward part's inside
  kernels::Buffer pooled;  // [kWaveSequences, 2 width + labels]

  [[nodiscard]] std::uint64_t bytes() const {
    return hidden.size() + sum.size() + wide.size() + pooled.size();
  }
};

class Bert final : public Model {
 public:
  Bert(Parts parts, Workspace workspace, kernels::Backend& backend)
      : parts_(std::move(parts)), workspace_(std::move(workspace)), backend_(backend) {
    wave_offsets_.reserve(kWaveSequences + 1);
  }

  [[nodiscard]] const Info& info() const override { return parts_.info; }
  [[nodiscard]] const tokenizer::Tokenizer& tokenizer() const override { return *parts_.tokenizer; }

  base::Status run(Task task, const Packed& batch, std::span<float* const> rows) override {
    if (const auto status = check(task, batch, rows); !status) return status;
    std::size_t first = 0;
    while (first < rows.size()) {
      const std::size_t last = wave_end(batch.offsets, first);
      encode(batch, first, last);
      const float* out = task == Task::kEmbed ? embed() : classify();
      const std::uint32_t width = parts_.info.row_width(task);
      for (std::size_t i = first; i < last; ++i, out += width) {
        std::memcpy(rows[i], out, width * sizeof(float));
      }
      first = last;
    }
    return base::ok();
  }

 private:
  // Refuses what the kernels would read or write out of bounds.
  [[nodiscard]] base::Status check(Task task, const Packed& batch,
                                   std::span<float* const> rows) const {
    const auto refuse = [&](const std::string& problem) {
      return base::Status(
          base::Error{base::Code::kInvalid, parts_.info.architecture + ": " + problem});
    };
    if (!parts_.info.can(task)) {
      return refuse(task == Task::kEmbed ? "this model does not embed"
                                         : "this model has no labels to classify with");
    }
    const std::size_t tokens = batch.ids.size();
    if (batch.types.size() != tokens) return refuse("ids and types differ in number");
    if (batch.offsets.size() != rows.size() + 1) return refuse("offsets and rows do not match");
    if (batch.offsets.front() != 0 || batch.offsets.back() != tokens) {
      return refuse("offsets do not cover the tokens");
    }
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const std::uint32_t begin = batch.offsets[i];
      const std::uint32_t end = batch.offsets[i + 1];
      if (begin >= end) return refuse("sequence " + std::to_string(i) + " has no tokens");
      if (end - begin > parts_.info.tokens_max) {
        return refuse("sequence " + std::to_string(i) + " has " + std::to_string(end - begin) +
                      " tokens; the limit is " + std::to_string(parts_.info.tokens_max));
      }
    }
    for (std::size_t i = 0; i < tokens; ++i) {
      if (batch.ids[i] >= parts_.config.vocabulary || batch.types[i] >= parts_.config.types) {
        return refuse("token " + std::to_string(i) + " has id " + std::to_string(batch.ids[i]) +
                      " and type " + std::to_string(batch.types[i]) + "; there are " +
                      std::to_string(parts_.config.vocabulary) + " ids and " +
                      std::to_string(parts_.config.types) + " types");
      }
    }
    return base::ok();
  }

  // One past the last sequence of the wave that starts at `first`.
  [[nodiscard]] static std::size_t wave_end(std::span<const std::uint32_t> offsets,
                                            std::size_t first) {
    const std::size_t bound = std::min(offsets.size() - 1, first + kWaveSequences);
    std::size_t last = first + 1;
    while (last < bound && offsets[last + 1] - offsets[first] <= kWaveTokens) ++last;
    return last;
  }

  // Sequences [first, last) through all layers, into workspace_.hidden.
  void encode(const Packed& batch, std::size_t first, std::size_t last) {
    const std::uint32_t start = batch.offsets[first];
    wave_offsets_.clear();
    for (std::size_t i = first; i <= last; ++i) wave_offsets_.push_back(batch.offsets[i] - start);

    const BertConfig& config = parts_.config;
    const std::uint32_t tokens = wave_offsets_.back();
    const auto sequences = static_cast<std::uint32_t>(last - first);
    auto* hidden = workspace_.hidden.as<float>();
    auto* sum = workspace_.sum.as<float>();
    auto* wide = workspace_.wide.as<float>();
    float* context = wide + std::size_t{tokens} * 3 * config.width;

    backend_.embed({.ids = batch.ids.data() + start,
                    .types = batch.types.data() + start,
                    .offsets = wave_offsets_.data(),
                    .words = parts_.words,
                    .positions = parts_.positions,
                    .types_table = parts_.types,
                    .gamma = parts_.embed_norm.gamma.data(),
                    .beta = parts_.embed_norm.beta.data(),
                    .out = hidden,
                    .sequences = sequences,
                    .width = config.width,
                    .epsilon = config.epsilon});
    for (const Layer& layer : parts_.layers) {
      backend_.linear({.in = hidden, .weights = layer.qkv.get(), .out = wide, .rows = tokens});
      backend_.attention({.qkv = wide,
                          .offsets = wave_offsets_.data(),
                          .out = context,
                          .sequences = sequences,
                          .heads = config.heads,
                          .head_width = config.width / config.heads});
      backend_.linear({.in = context,
                       .weights = layer.mix.get(),
                       .out = sum,
                       .rows = tokens,
                       .residual = hidden});
      norm(sum, layer.mix_norm, hidden, tokens);
      backend_.linear({.in = hidden,
                       .weights = layer.widen.get(),
                       .out = wide,
                       .rows = tokens,
                       .activation = kernels::Activation::kGelu});
      backend_.linear({.in = wide,
                       .weights = layer.narrow.get(),
                       .out = sum,
                       .rows = tokens,
                       .residual = hidden});
      norm(sum, layer.out_norm, hidden, tokens);
    }
  }

  void norm(const float* in, const Norm& by, float* out, std::uint32_t rows) {
    backend_.layer_norm({.in = in,
                         .gamma = by.gamma.data(),
                         .beta = by.beta.data(),
                         .out = out,
                         .rows = rows,
                         .width = parts_.config.width,
                         .epsilon = parts_.config.epsilon});
  }

  // [sequences, width] for the wave in workspace_.hidden.
  const float* pool(kernels::Pooling mode, bool normalize) {
    auto* pooled = workspace_.pooled.as<float>();
    backend_.pool({.hidden = workspace_.hidden.as<float>(),
                   .offsets = wave_offsets_.data(),
                   .out = pooled,
                   .sequences = wave_sequences(),
                   .width = parts_.config.width,
                   .pooling = mode,
                   .normalize = normalize});
    return pooled;
  }

  const float* embed() { return pool(parts_.pooling.mode, parts_.pooling.normalize); }

  // [sequences, labels]
  const float* classify() {
    const float* first = pool(kernels::Pooling::kFirst, /*normalize=*/false);
    const std::size_t size = std::size_t{kWaveSequences} * parts_.config.width;
    float* pooled = workspace_.pooled.as<float>() + size;
    float* logits = pooled + size;
    backend_.linear({.in = first,
                     .weights = parts_.head.pooler.get(),
                     .out = pooled,
                     .rows = wave_sequences(),
                     .activation = kernels::Activation::kTanh});
    backend_.linear({.in = pooled,
                     .weights = parts_.head.classifier.get(),
                     .out = logits,
                     .rows = wave_sequences()});
    return logits;
  }

  [[nodiscard]] std::uint32_t wave_sequences() const {
    return static_cast<std::uint32_t>(wave_offsets_.size() - 1);
  }

  Parts parts_;
  Workspace workspace_;
  kernels::Backend& backend_;
  std::vector<std::uint32_t> wave_offsets_;  // of the current wave, from 0
};

Norm read_norm(Weights& weights, const std::string& name, std::uint32_t width) {
  return {weights.vector(name + ".weight", width), weights.vector(name + ".bias", width)};
}

constexpr std::array<std::string_view, 3> kQkv = {"query", "key", "value"};
constexpr std::array<std::string_view, 1> kDense = {"dense"};
constexpr std::array<std::string_view, 1> kClassifier = {"classifier"};

Layer read_layer(Weights& weights, const std::string& name, const BertConfig& config) {
  const std::uint32_t width = config.width;
  Layer layer;
  layer.qkv = weights.linear(name + "attention.self.", kQkv, width, width);
  layer.mix = weights.linear(name + "attention.output.", kDense, width, width);
  layer.mix_norm = read_norm(weights, name + "attention.output.LayerNorm", width);
  layer.widen = weights.linear(name + "intermediate.", kDense, config.intermediate, width);
  layer.narrow = weights.linear(name + "output.", kDense, width, config.intermediate);
  layer.out_norm = read_norm(weights, name + "output.LayerNorm", width);
  return layer;
}

base::Status read_weights(const std::string& path, kernels::Backend& backend, Parts& parts) {
  auto opened = Weights::open(path, backend);
  if (!opened) {
    if (opened.error().code != base::Code::kNotFound) return opened.error();
    return base::Error{base::Code::kNotFound,
                       opened.error().message + ": weights must be in one model.safetensors"};
  }
  Weights& weights = parts.weights.emplace(std::move(*opened));
  const BertConfig& config = parts.config;
  // A model with a head keeps the encoder's tensors under "bert."; a bare encoder may do either.
  const std::string root = weights.has("bert.embeddings.word_embeddings.weight") ? "bert." : "";
  const std::string embeddings = root + "embeddings.";
  parts.words =
      weights.table(embeddings + "word_embeddings.weight", config.vocabulary, config.width);
  parts.positions =
      weights.table(embeddings + "position_embeddings.weight", config.positions, config.width);
  parts.types =
      weights.table(embeddings + "token_type_embeddings.weight", config.types, config.width);
  parts.embed_norm = read_norm(weights, embeddings + "LayerNorm", config.width);
  for (std::uint32_t i = 0; i < config.layers; ++i) {
    const std::string name = root + "encoder.layer." + std::to_string(i) + ".";
    parts.layers.push_back(read_layer(weights, name, config));
    if (const auto status = weights.status(); !status) return status;
  }
  if (!parts.info.labels.empty()) {
    const auto labels = static_cast<std::uint32_t>(parts.info.labels.size());
    parts.head.pooler = weights.linear(root + "pooler.", kDense, config.width, config.width);
    parts.head.classifier = weights.linear("", kClassifier, labels, config.width);
  }
  parts.info.parameters = weights.parameters();
  parts.info.memory_bytes = weights.memory_bytes();
  weights.drop_pages();
  return weights.status();
}

base::Result<Workspace> allocate_workspace(const Parts& parts, kernels::Backend& backend) {
  const BertConfig& config = parts.config;
  const std::size_t tokens = std::max(kWaveTokens, parts.info.tokens_max);
  const std::size_t width = config.width;
  const std::size_t wide = std::max<std::size_t>(4 * width, config.intermediate);
  const std::size_t pooled = 2 * width + parts.info.labels.size();
  Workspace workspace;
  for (const auto& [buffer, floats] :
       {std::pair{&workspace.hidden, tokens * config.width},
        std::pair{&workspace.sum, tokens * config.width}, std::pair{&workspace.wide, tokens * wide},
        std::pair{&workspace.pooled, kWaveSequences * pooled}}) {
    auto allocated = backend.allocate(floats * sizeof(float));
    if (!allocated) return allocated.error();
    *buffer = std::move(*allocated);
  }
  return workspace;
}

// The tokenizer and the limit of tokens, which must agree with the tables.
base::Status read_tokenizer(const Folder& folder, Parts& parts) {
  const auto tokens_max = read_token_limit(folder.path, parts.config.positions);
  if (!tokens_max) return tokens_max.error();
  parts.info.tokens_max = *tokens_max;
  const std::string path = folder.path + "/" + store::kTokenizerFile;
  auto tokenizer = tokenizer::Tokenizer::load(path);
  if (!tokenizer) return tokenizer.error();
  parts.tokenizer = std::move(*tokenizer);
  if (parts.tokenizer->vocabulary_size() > parts.config.vocabulary) {
    return base::Error{
        base::Code::kInvalid,
        path + ": has ids up to " + std::to_string(parts.tokenizer->vocabulary_size() - 1) +
            ", but " + folder.config_path + " says vocab_size " +
            std::to_string(parts.config.vocabulary) + ": the two belong to different models"};
  }
  if (parts.tokenizer->special_tokens() >= *tokens_max) {
    return base::Error{base::Code::kInvalid, path + ": adds " +
                                                 std::to_string(parts.tokenizer->special_tokens()) +
                                                 " special tokens, but a text may have " +
                                                 std::to_string(*tokens_max) + " tokens in all"};
  }
  return base::ok();
}

base::Result<std::unique_ptr<Model>> load_with(const Folder& folder, Labels labels,
                                               kernels::Backend& backend) {
  const auto config = read_bert_config(folder.config, folder.config_path);
  if (!config) return config.error();
  const auto pooling = read_pooling(folder.path, config->width);
  if (!pooling) return pooling.error();
  Parts parts;
  parts.config = *config;
  parts.pooling = *pooling;
  parts.info.architecture = folder.config["architectures"][0].get<std::string>();
  parts.info.embed_width = config->width;
  parts.info.labels = std::move(labels.names);
  parts.info.multi_label = labels.multi_label;
  if (const auto status = read_tokenizer(folder, parts); !status) return status.error();
  const std::string weights_path = folder.path + "/" + store::kWeightsFile;
  if (const auto status = read_weights(weights_path, backend, parts); !status) {
    return status.error();
  }
  auto digest = store::digest(folder.path);
  if (!digest) return digest.error();
  parts.info.digest = std::move(*digest);
  auto workspace = allocate_workspace(parts, backend);
  if (!workspace) return workspace.error();
  parts.info.memory_bytes += workspace->bytes();
  return std::unique_ptr<Model>(
      std::make_unique<Bert>(std::move(parts), std::move(*workspace), backend));
}

}  // namespace

base::Result<std::unique_ptr<Model>> load_bert(const Folder& folder, kernels::Backend& backend) {
  return load_with(folder, Labels{}, backend);
}

base::Result<std::unique_ptr<Model>> load_bert_classifier(const Folder& folder,
                                                          kernels::Backend& backend) {
  auto labels = read_labels(folder.config, folder.config_path);
  if (!labels) return labels.error();
  return load_with(folder, std::move(*labels), backend);
}

}  // namespace nacelle::model
