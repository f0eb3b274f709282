// The model store: a folder with one sub-folder per model, named by the operator.
//
//   <store>/minilm/config.json  model.safetensors  tokenizer.json  modules.json  ...
//
// Nothing here looks inside the files; sidecar/model does.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sidecar/base/result.h"

namespace nacelle::store {

inline constexpr std::size_t kEntriesMax = 10'000;    // sub-folders looked at in one folder
inline constexpr std::size_t kEntryNameMax = 255;     // bytes, as file systems have it
inline constexpr char kConfigFile[] = "config.json";  // what makes a folder a model
inline constexpr char kWeightsFile[] = "model.safetensors";
inline constexpr char kWeightsIndexFile[] = "model.safetensors.index.json";  // names the shards
inline constexpr char kTokenizerFile[] = "tokenizer.json";

// Whether `name` is one of a model's weights files where there are several:
// "model-<...>.safetensors", a plain file name.
[[nodiscard]] bool is_shard(std::string_view name);

class Store {
 public:
  // `root` is the option `models` (NACELLE_MODELS); empty when the operator has no store and names
  // models by path only.
  explicit Store(std::string root) : root_(std::move(root)) {}

  // The folder of the model that `reference` names: a path when it starts with "/", "./" or "../",
  // else an entry of the store. An entry is one plain folder name: a name that could leave the
  // store is kInvalid. A folder without config.json is kNotFound, and the message lists the
  // entries.
  [[nodiscard]] base::Result<std::string> find(const std::string& reference) const;

  // Names of the sub-folders that hold a config.json, sorted.
  [[nodiscard]] base::Result<std::vector<std::string>> entries() const;

  [[nodiscard]] const std::string& root() const { return root_; }

 private:
  std::string root_;
};

// SHA-256, in lower-case hex, of every file in a model's folder that decides what it answers: two
// folders with the same digest give the same results.
//
// Hashed: for each file in order, the length of its name, the name, the length of its content, the
// content; lengths are 64-bit little-endian. The files are the ones of this list that exist
// (config.json, config_sentence_transformers.json, model.safetensors, model.safetensors.index.json,
// modules.json, sentence_bert_config.json, tokenizer.json, tokenizer_config.json), then, by name,
// the shards, and <folder>/config.json and <folder>/model.safetensors of each sub-folder that has
// a config.json, which is where sentence-transformers keeps its modules. README and licence files
// change nothing.
base::Result<std::string> digest(const std::string& directory);

// The same of texts: for each in order its length and its bytes.
base::Result<std::string> digest_of(std::span<const std::string> texts);

}  // namespace nacelle::store
