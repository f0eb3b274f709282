// What the tokenizer tests share: recorded files, and tokenizers made from changed JSON.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "sidecar/files/json.h"
#include "sidecar/tokenizer/tokenizer.h"

namespace nacelle::tokenizer {

// tests/data/<name> of the source tree.
std::string data_path(const std::string& name);

// <assets>/<name>, when the optional assets are there: NACELLE_ASSETS, or shared/assets beside the
// source tree.
std::optional<std::string> asset_path(const std::string& name);

// The JSON of a file that must be there.
files::Json read_golden(const std::string& path);

// The small vocabulary's tokenizer.json.
files::Json small_tokenizer();

// A tokenizer from this JSON, through a file.
base::Result<std::unique_ptr<Tokenizer>> load_json(const files::Json& json);
// One that must load.
std::unique_ptr<Tokenizer> load_or_die(const files::Json& json);

}  // namespace nacelle::tokenizer
