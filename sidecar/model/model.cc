// Loading: which architecture a folder holds, then its files in an order that finds cheap mistakes
// first: config, sentence-transformers' settings, tokenizer, weights.
#include "sidecar/model/model.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include "sidecar/files/json.h"
#include "sidecar/model/architectures.h"
#include "sidecar/model/encoder_model.h"
#include "sidecar/model/labels.h"
#include "sidecar/model/sentence_config.h"
#include "sidecar/model/token_limit.h"
#include "sidecar/store/store.h"

namespace nacelle::model {
namespace {

constexpr std::size_t kConfigSizeMax = 1 << 20;  // bytes; thousands of labels fit

// A model's folder and its config.json.
struct Folder {
  std::string path;
  std::string config_path;
  files::Json config;
};

// What follows an architecture's name in "architectures". Heads that are not for a whole text are
// left out of the forward pass: most published encoders still name the one they were trained with.
struct Suffix {
  std::string_view name;
  bool classifies;
};
constexpr std::array kSuffixes = {Suffix{"Model", false}, Suffix{"ForMaskedLM", false},
                                  Suffix{"ForPreTraining", false},
                                  Suffix{"ForSequenceClassification", true}};

struct Found {
  const Architecture* architecture;
  std::string name;
  bool classifies;
};

// The only entry of config.json's "architectures".
base::Result<Found> find_architecture(const Folder& folder) {
  const auto refuse = [&](const std::string& problem) {
    std::string known;
    for (const Architecture& entry : all_architectures()) {
      known += (known.empty() ? "" : ", ") + std::string(entry.name);
    }
    std::string suffixes;
    for (const Suffix& suffix : kSuffixes) {
      suffixes += (suffixes.empty() ? "" : ", ") + std::string(suffix.name);
    }
    return base::Error{base::Code::kInvalid, folder.config_path + ": architectures: " + problem +
                                                 "; this version knows " + known +
                                                 ", each followed by one of " + suffixes};
  };
  if (!folder.config.is_object()) return refuse("the file is not a JSON object");
  const auto names = folder.config.find("architectures");
  if (names == folder.config.end() || !names->is_array() || names->size() != 1 ||
      !names->front().is_string()) {
    return refuse("must be a list of one name");
  }
  const auto& name = names->front().get_ref<const std::string&>();
  for (const Architecture& entry : all_architectures()) {
    if (!name.starts_with(entry.name)) continue;
    for (const Suffix& suffix : kSuffixes) {
      if (name.substr(entry.name.size()) == suffix.name) {
        return Found{&entry, name, suffix.classifies};
      }
    }
  }
  return refuse(files::in_quotes(name) + " is not known");
}

// The tokenizer, which must agree with the tables.
base::Result<std::unique_ptr<tokenizer::Tokenizer>> read_tokenizer(const Folder& folder,
                                                                   const EncoderConfig& config) {
  const std::string path = folder.path + "/" + store::kTokenizerFile;
  auto tokenizer = tokenizer::Tokenizer::load(path);
  if (!tokenizer) return tokenizer.error();
  if ((*tokenizer)->vocabulary_size() > config.vocabulary) {
    return base::Error{
        base::Code::kInvalid,
        path + ": has ids up to " + std::to_string((*tokenizer)->vocabulary_size() - 1) + ", but " +
            folder.config_path + " says vocab_size " + std::to_string(config.vocabulary) +
            ": the two belong to different models"};
  }
  if ((*tokenizer)->special_tokens() >= config.tokens_max) {
    return base::Error{base::Code::kInvalid,
                       path + ": adds " + std::to_string((*tokenizer)->special_tokens()) +
                           " special tokens, but a text may have " +
                           std::to_string(config.tokens_max) + " tokens in all"};
  }
  return tokenizer;
}

// Labels, prompts and widths; the sentence vectors' settings are given back.
base::Result<SentenceConfig> read_info(const Folder& folder, const Found& found,
                                       const EncoderConfig& config, Info& info) {
  info.architecture = found.name;
  info.tokens_max = config.tokens_max;
  auto sentence = read_sentence_config(folder.path, config.width, found.classifies);
  if (!sentence) return sentence.error();
  info.embed_width = sentence->width;
  auto prompts = read_prompts(folder.path);
  if (!prompts) return prompts.error();
  for (const auto& [name, text] : prompts->texts) {
    if (sentence->include_prompt || text.empty()) continue;
    return base::Error{base::Code::kInvalid,
                       folder.path +
                           ": the pooling's include_prompt is false, which this version "
                           "does not support for a model with prompts (" +
                           files::in_quotes(name) + ")"};
  }
  info.prompts = std::move(prompts->texts);
  info.default_prompt = std::move(prompts->default_name);
  if (found.classifies) {
    const auto score_class = read_score_class(folder.path);
    if (!score_class) return score_class.error();
    auto labels = read_labels(folder.config, folder.config_path, *score_class);
    if (!labels) return labels.error();
    info.labels = std::move(labels->names);
    info.multi_label = labels->multi_label;
    info.score = labels->score;
    info.reranks = info.labels.size() == 1;
  }
  return sentence;
}

// The file that keeps packed weights is named by all that decides its bytes.
Packing packing_of(const LoadOptions& options, const std::string& digest,
                   const kernels::Backend& backend) {
  Packing packing{.precision = options.precision, .only = options.only};
  if (options.packed_folder.empty() || !options.only.empty()) return packing;
  constexpr std::size_t kDigits = 32;
  std::string layout(backend.layout(format_of(options.precision, /*stored_as_int8=*/true)));
  std::ranges::replace(layout, '/', '-');
  packing.cache = PackedCache(
      options.packed_folder,
      digest.substr(0, kDigits) + "." +
          std::string(kPrecisionNames[static_cast<std::size_t>(options.precision)]) + "." + layout);
  return packing;
}

base::Result<std::unique_ptr<Model>> load_folder(const Folder& folder, kernels::Backend& backend,
                                                 const LoadOptions& options) {
  const auto found = find_architecture(folder);
  if (!found) return found.error();
  const Architecture& architecture = *found->architecture;
  Fields fields(folder.config, folder.config_path);
  EncoderConfig config = architecture.config(fields);
  if (const auto status = fields.status(); !status) return status.error();
  const auto tokens_max = read_token_limit(folder.path, config.tokens_max);
  if (!tokens_max) return tokens_max.error();
  config.tokens_max = *tokens_max;

  Info info;
  auto sentence_config = read_info(folder, *found, config, info);
  if (!sentence_config) return sentence_config.error();
  auto tokenizer = read_tokenizer(folder, config);
  if (!tokenizer) return tokenizer.error();

  auto digest = store::digest(folder.path);
  if (!digest) return digest.error();
  auto weights = Weights::open(folder.path, backend, packing_of(options, *digest, backend));
  if (!weights) return weights.error();
  EncoderWeights encoder_weights = architecture.encoder(*weights, config, fields);
  Classifier classifier;
  if (found->classifies) {
    classifier = architecture.classifier(*weights, config,
                                         static_cast<std::uint32_t>(info.labels.size()), fields);
  }
  for (const auto& status : {fields.status(), weights->status()}) {
    if (!status) return status.error();
  }
  weights->store_packed();
  weights->drop_pages();

  auto encoder = Encoder::create(config, std::move(encoder_weights), backend);
  if (!encoder) return encoder.error();
  auto sentence = Sentence::create(folder.path, std::move(*sentence_config), backend);
  if (!sentence) return sentence.error();
  kernels::Buffer classifier_rows;
  if (found->classifies) {
    const std::size_t floats = kWaveSequences * classifier_floats(config.width, info.labels.size());
    auto allocated = backend.allocate(floats * sizeof(float));
    if (!allocated) return allocated.error();
    classifier_rows = std::move(*allocated);
  }
  info.digest = std::move(*digest);
  info.quantized = weights->quantized();
  info.precision = precision_of(format_of(options.precision, weights->quantized()));
  info.layers = weights->body_layers();
  info.normalizes = sentence->normalizes();
  info.parameters = weights->parameters() + sentence->parameters();
  info.memory_bytes = weights->memory_bytes() + encoder->workspace_bytes() +
                      sentence->memory_bytes() + classifier_rows.size();
  return make_encoder_model({.info = std::move(info),
                             .tokenizer = std::move(*tokenizer),
                             .weights = std::move(*weights),
                             .encoder = std::move(*encoder),
                             .sentence = std::move(*sentence),
                             .classifier = std::move(classifier),
                             .classifier_rows = std::move(classifier_rows)},
                            backend);
}

}  // namespace

base::Result<std::unique_ptr<Model>> load(const std::string& directory, kernels::Backend& backend,
                                          const LoadOptions& options) {
  const std::string config_path = directory + "/" + store::kConfigFile;
  auto config = files::read_json(config_path, kConfigSizeMax);
  if (!config) return config.error();
  return load_folder({.path = directory, .config_path = config_path, .config = std::move(*config)},
                     backend, options);
}

}  // namespace nacelle::model
