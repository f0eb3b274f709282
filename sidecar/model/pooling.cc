// See pooling.h. Format: https://sbert.net/docs/sentence_transformer/usage/custom_models.html
#include "sidecar/model/pooling.h"

#include <cstddef>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "sidecar/files/json.h"
#include "sidecar/model/fields.h"

namespace nacelle::model {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kFileSizeMax = 64 << 10;  // bytes; real ones have a few hundred

base::Error invalid(const std::string& file, const std::string& problem) {
  return base::Error{base::Code::kInvalid, file + ": " + problem};
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

// The mode in 1_Pooling/config.json: exactly one pooling_mode_* is true.
base::Result<kernels::Pooling> read_mode(const std::string& path, std::uint32_t width) {
  const auto json = files::read_json(path, kFileSizeMax);
  if (!json) return json.error();
  Fields fields(*json, path);
  const std::uint32_t stated = fields.count("word_embedding_dimension", 1, UINT32_MAX, width);
  if (const auto status = fields.status(); !status) return status.error();
  if (stated != width) {
    return invalid(path, "word_embedding_dimension is " + std::to_string(stated) +
                             ", but the model's vectors have " + std::to_string(width) + " floats");
  }
  std::string chosen;
  for (const auto& [name, value] : json->items()) {
    if (!name.starts_with("pooling_mode_")) continue;
    if (!value.is_boolean()) return invalid(path, files::in_quotes(name) + " is not true or false");
    if (value.get<bool>()) chosen += (chosen.empty() ? "" : " and ") + name;
  }
  if (chosen == "pooling_mode_mean_tokens") return kernels::Pooling::kMean;
  if (chosen == "pooling_mode_cls_token") return kernels::Pooling::kFirst;
  return invalid(path, "the pooling mode is " +
                           (chosen.empty() ? "missing" : files::in_quotes(chosen)) +
                           "; this version knows pooling_mode_mean_tokens and "
                           "pooling_mode_cls_token, one at a time");
}

}  // namespace

base::Result<SentencePooling> read_pooling(const std::string& directory, std::uint32_t width) {
  const std::string path = directory + "/modules.json";
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return SentencePooling{};
  const auto modules = files::read_json(path, kFileSizeMax);
  if (!modules) return modules.error();
  if (!modules->is_array()) return invalid(path, "not a list of modules");

  SentencePooling pooling{.normalize = false};
  std::size_t index = 0;
  for (const files::Json& module : *modules) {
    const std::string place = path + ": module " + std::to_string(index);
    Fields fields(module, place);
    const std::string type = fields.text("type", "");
    const std::string folder = fields.text("path", "");
    if (const auto status = fields.status(); !status) return status.error();
    const std::string_view kind = module_kind(type);

    if (kind == "Transformer" && index == 0) {
      if (!folder.empty()) {
        return invalid(place, "the Transformer lies in " + files::in_quotes(folder) +
                                  "; it must be in the model's own folder (path \"\")");
      }
    } else if (kind == "Pooling" && index == 1) {
      if (!is_sub_folder(folder)) {
        return invalid(place, "path " + files::in_quotes(folder) +
                                  " is not the name of a folder inside the model's");
      }
      const auto mode = read_mode(directory + "/" + folder + "/config.json", width);
      if (!mode) return mode.error();
      pooling.mode = *mode;
    } else if (kind == "Normalize" && index == 2) {
      pooling.normalize = true;
    } else {
      return invalid(place, "type " + files::in_quotes(type) +
                                " is not known here; this version runs Transformer, Pooling and "
                                "then at most one Normalize of sentence_transformers");
    }
    ++index;
  }
  if (index < 2) return invalid(path, "there is no Pooling after the Transformer");
  return pooling;
}

}  // namespace nacelle::model
