// See sentence_config.h. Format:
// https://sbert.net/docs/sentence_transformer/usage/custom_models.html
#include "sidecar/model/sentence_config.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <string_view>
#include <system_error>

#include "sidecar/files/json.h"
#include "sidecar/model/fields.h"

namespace nacelle::model {
namespace {

namespace fs = std::filesystem;
using kernels::Activation;
using kernels::Pooling;

constexpr std::size_t kFileSizeMax = 1 << 20;  // bytes; real ones have a few hundred
constexpr std::uint32_t kWidthMax = 1 << 16;   // floats of a text's vector

base::Error invalid(const std::string& file, const std::string& problem) {
  return base::Error{base::Code::kInvalid, file + ": " + problem};
}

// The file's JSON, or null when there is no such file.
base::Result<files::Json> read_optional(const std::string& path) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return files::Json();
  return files::read_json(path, kFileSizeMax);
}

// "Pooling" from "sentence_transformers.models.Pooling"; empty for another package's module, whose
// code would be needed to run it.
std::string_view module_kind(std::string_view type) {
  if (!type.starts_with("sentence_transformers.")) return {};
  return type.substr(type.rfind('.') + 1);
}

// Whether a module's path is a folder right inside the model's: nothing else is part of its digest.
bool is_sub_folder(const std::string& path) {
  return !path.empty() && path != "." && path != ".." && path.find('/') == std::string::npos &&
         path.find('\0') == std::string::npos;
}

struct NamedPooling {
  std::string_view name;   // in pooling_mode
  std::string_view older;  // its own flag, in older files
  Pooling pooling;
};

// In the order in which flags are put side by side.
constexpr std::array kPoolings = {
    NamedPooling{"cls", "pooling_mode_cls_token", Pooling::kFirst},
    NamedPooling{"max", "pooling_mode_max_tokens", Pooling::kMax},
    NamedPooling{"mean", "pooling_mode_mean_tokens", Pooling::kMean},
    NamedPooling{"mean_sqrt_len_tokens", "pooling_mode_mean_sqrt_len_tokens", Pooling::kMeanSqrt},
    NamedPooling{"weightedmean", "pooling_mode_weightedmean_tokens", Pooling::kWeightedMean},
    NamedPooling{"lasttoken", "pooling_mode_lasttoken", Pooling::kLast},
};

// pooling_mode: a name or a list of names.
base::Result<std::vector<Pooling>> read_modes(const files::Json& value, const std::string& path) {
  const files::Json names = value.is_array() ? value : files::Json::array({value});
  std::vector<Pooling> modes;
  for (const files::Json& name : names) {
    const auto entry = std::ranges::find_if(
        kPoolings, [&](const NamedPooling& known) { return name == known.name; });
    if (entry == kPoolings.end()) {
      return invalid(path, "pooling_mode " + shown(name) + " is not known");
    }
    modes.push_back(entry->pooling);
  }
  if (modes.empty() || modes.size() > kPoolings.size()) {
    return invalid(path, "pooling_mode must name 1 to 6 modes");
  }
  return modes;
}

// The older flags pooling_mode_*: all that are true.
base::Result<std::vector<Pooling>> read_flags(const files::Json& json, const std::string& path) {
  for (const auto& [name, value] : json.items()) {
    if (!name.starts_with("pooling_mode_")) continue;
    if (!value.is_boolean()) return invalid(path, files::in_quotes(name) + " is not true or false");
    const bool known = std::ranges::any_of(
        kPoolings, [&older = name](const NamedPooling& e) { return e.older == older; });
    if (!known && value.get<bool>()) return invalid(path, files::in_quotes(name) + " is not known");
  }
  std::vector<Pooling> modes;
  for (const NamedPooling& entry : kPoolings) {
    const auto flag = json.find(entry.older);
    if (flag != json.end() && flag->get<bool>()) modes.push_back(entry.pooling);
  }
  if (modes.empty()) return invalid(path, "the pooling mode is missing");
  return modes;
}

// Sets pooling, width and include_prompt.
base::Status read_pooling(const std::string& path, SentenceConfig& config) {
  const std::uint32_t width = config.width;
  const auto json = files::read_json(path, kFileSizeMax);
  if (!json) return json.error();
  Fields fields(*json, path);
  for (const char* name : {"word_embedding_dimension", "embedding_dimension"}) {
    const std::uint32_t stated = fields.count(name, 1, UINT32_MAX, width);
    if (stated != width) {
      fields.refuse(name, "is " + std::to_string(stated) + ", but the model's vectors have " +
                              std::to_string(width) + " floats");
    }
  }
  config.include_prompt = fields.flag("include_prompt", true);
  if (const auto status = fields.status(); !status) return status;
  const files::Json* mode = fields.find("pooling_mode");
  auto modes = mode == nullptr ? read_flags(*json, path) : read_modes(*mode, path);
  if (!modes) return modes.error();
  config.pooling = std::move(*modes);
  config.width = width * static_cast<std::uint32_t>(config.pooling.size());
  config.pooled_width = config.width;
  return base::ok();
}

struct NamedActivation {
  std::string_view name;
  Activation activation;
};

// Classes of torch.nn, by the last part of their names.
constexpr std::array kActivations = {
    NamedActivation{"Identity", Activation::kNone}, NamedActivation{"Tanh", Activation::kTanh},
    NamedActivation{"ReLU", Activation::kRelu},     NamedActivation{"GELU", Activation::kGelu},
    NamedActivation{"SiLU", Activation::kSilu},
};

base::Result<SentenceStep> read_dense(const std::string& path, std::uint32_t width) {
  const auto json = files::read_json(path, kFileSizeMax);
  if (!json) return json.error();
  Fields fields(*json, path);
  SentenceStep step;
  step.kind = SentenceStep::Kind::kDense;
  const std::uint32_t in_width = fields.count("in_features", 1, kWidthMax);
  step.out_width = fields.count("out_features", 1, kWidthMax);
  step.bias = fields.flag("bias", true);
  step.residual = fields.flag("use_residual", false);
  if (in_width != width) {
    fields.refuse("in_features", "is " + std::to_string(in_width) + ", but it gets vectors of " +
                                     std::to_string(width) + " floats");
  }
  if (step.residual && in_width != step.out_width) {
    fields.refuse("use_residual", "is not supported where in_features is not out_features");
  }
  for (const char* name : {"module_input_name", "module_output_name"}) {
    const std::string value = fields.text(name, "sentence_embedding");
    if (value != "sentence_embedding") {
      fields.refuse(name, files::in_quotes(value) + " is not supported");
    }
  }
  const std::string name = fields.text("activation_function", "torch.nn.modules.activation.Tanh");
  const auto entry = std::ranges::find_if(kActivations, [&](const NamedActivation& known) {
    return name.starts_with("torch.nn.") && name.ends_with("." + std::string(known.name));
  });
  if (entry == kActivations.end()) {
    fields.refuse("activation_function",
                  files::in_quotes(name) +
                      " is not supported; this version knows torch.nn's Identity, Tanh, ReLU, "
                      "GELU and SiLU");
  } else {
    step.activation = entry->activation;
  }
  if (const auto status = fields.status(); !status) return status.error();
  return step;
}

base::Result<SentenceStep> read_layer_norm(const std::string& path, std::uint32_t width) {
  const auto json = files::read_json(path, kFileSizeMax);
  if (!json) return json.error();
  Fields fields(*json, path);
  const std::uint32_t stated = fields.count("dimension", 1, kWidthMax);
  if (stated != width) {
    fields.refuse("dimension", "is " + std::to_string(stated) + ", but it gets vectors of " +
                                   std::to_string(width) + " floats");
  }
  if (const auto status = fields.status(); !status) return status.error();
  SentenceStep step;
  step.kind = SentenceStep::Kind::kLayerNorm;
  step.out_width = width;
  return step;
}

// One entry of modules.json.
struct Module {
  std::string_view kind;
  std::string type;
  std::string folder;
};

// Adds what a module after the pooling does to `config`.
base::Status read_step(const Module& module, const std::string& place, const std::string& directory,
                       SentenceConfig& config) {
  if (module.kind == "Dropout") return base::ok();  // does something in training only
  if (module.kind == "Normalize") {
    config.steps.emplace_back().out_width = config.width;
    return base::ok();
  }
  if (module.kind != "Dense" && module.kind != "LayerNorm") {
    return invalid(place, "type " + files::in_quotes(module.type) +
                              " is not known here; this version runs Transformer, Pooling and then "
                              "Dense, LayerNorm, Normalize and Dropout of sentence_transformers");
  }
  if (!is_sub_folder(module.folder)) {
    return invalid(place, "path " + files::in_quotes(module.folder) +
                              " is not the name of a folder inside the model's");
  }
  const std::string path = directory + "/" + module.folder + "/config.json";
  auto step =
      module.kind == "Dense" ? read_dense(path, config.width) : read_layer_norm(path, config.width);
  if (!step) return step.error();
  step->folder = module.folder;
  config.width = step->out_width;
  config.steps.push_back(std::move(*step));
  return base::ok();
}

}  // namespace

base::Result<SentenceConfig> read_sentence_config(const std::string& directory, std::uint32_t width,
                                                  bool is_classifier) {
  const std::string path = directory + "/modules.json";
  SentenceConfig plain;
  plain.pooled_width = plain.width = plain.steps.front().out_width = width;
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return plain;
  const auto modules = files::read_json(path, kFileSizeMax);
  if (!modules) return modules.error();
  if (!modules->is_array()) return invalid(path, "not a list of modules");
  if (modules->size() > kSentenceStepsMax) {
    return invalid(path, "has more than " + std::to_string(kSentenceStepsMax) + " modules");
  }

  SentenceConfig config{.pooling = {}, .steps = {}, .pooled_width = width, .width = width};
  std::size_t index = 0;
  for (const files::Json& entry : *modules) {
    const std::string place = path + ": module " + std::to_string(index);
    Fields fields(entry, place);
    Module module{.kind = {}, .type = fields.text("type", ""), .folder = fields.text("path", "")};
    if (const auto status = fields.status(); !status) return status.error();
    module.kind = module_kind(module.type);

    if (module.kind == "Transformer" && index == 0) {
      if (!module.folder.empty()) {
        return invalid(place, "the Transformer lies in " + files::in_quotes(module.folder) +
                                  "; it must be in the model's own folder (path \"\")");
      }
    } else if (module.kind == "Pooling" && index == 1) {
      if (!is_sub_folder(module.folder)) {
        return invalid(place, "path " + files::in_quotes(module.folder) +
                                  " is not the name of a folder inside the model's");
      }
      const std::string file = directory + "/" + module.folder + "/config.json";
      if (const auto status = read_pooling(file, config); !status) return status.error();
    } else if (index < 2) {
      return invalid(place, "type " + files::in_quotes(module.type) +
                                " is not known here; this version runs Transformer, Pooling and "
                                "then other modules of sentence_transformers");
    } else if (const auto status = read_step(module, place, directory, config); !status) {
      return status.error();
    }
    ++index;
  }
  if (index == 1 && is_classifier) return plain;  // a cross-encoder
  if (index < 2) return invalid(path, "there is no Pooling after the Transformer");
  return config;
}

base::Result<Prompts> read_prompts(const std::string& directory) {
  const std::string path = directory + "/config_sentence_transformers.json";
  const auto json = read_optional(path);
  if (!json) return json.error();
  if (json->is_null()) return Prompts{};
  Fields fields(*json, path);
  Prompts prompts;
  if (const files::Json* texts = fields.find("prompts"); texts != nullptr) {
    if (!texts->is_object() || texts->size() > kPromptsMax) {
      fields.refuse("prompts",
                    "must map at most " + std::to_string(kPromptsMax) + " names to texts");
    } else {
      for (const auto& [name, text] : texts->items()) {
        // As sentence-transformers: null is the empty text.
        const bool good = text.is_null() || text.is_string();
        const std::string value = text.is_string() ? text.get<std::string>() : std::string();
        if (!good || name.size() > kPromptSizeMax || value.size() > kPromptSizeMax) {
          fields.refuse("prompts", files::in_quotes(name) + " must be a text of at most " +
                                       std::to_string(kPromptSizeMax) + " bytes");
          break;
        }
        prompts.texts.emplace_back(name, value);
      }
    }
  }
  prompts.default_name = fields.text("default_prompt_name", "");
  if (const auto status = fields.status(); !status) return status.error();
  const auto named = [&](const auto& prompt) { return prompt.first == prompts.default_name; };
  if (!prompts.default_name.empty() && std::ranges::none_of(prompts.texts, named)) {
    return invalid(
        path, "default_prompt_name: there is no prompt " + files::in_quotes(prompts.default_name));
  }
  return prompts;
}

base::Result<std::string> read_score_class(const std::string& directory) {
  const std::string path = directory + "/config_sentence_transformers.json";
  const auto json = read_optional(path);
  if (!json) return json.error();
  if (json->is_null()) return std::string();
  Fields fields(*json, path);
  std::string name = fields.text("activation_fn", "");
  if (const auto status = fields.status(); !status) return status.error();
  return name;
}

}  // namespace nacelle::model
