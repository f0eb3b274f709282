// What the tokenizer tests share: recorded files, and tokenizers made from changed JSON.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "sidecar/files/json.h"
#include "sidecar/tokenizer/tokenizer.h"
#include "tests/support/data.h"

namespace nacelle::tokenizer {

using testing::asset_path;
using testing::data_path;
using testing::read_golden;

// The small vocabulary's tokenizer.json.
files::Json small_tokenizer();

// `target` with `patch` laid over it. Unlike RFC 7386, null is a value: it switches a component
// off.
files::Json merged(files::Json target, const files::Json& patch);

// A tokenizer from this JSON, through a file.
base::Result<std::unique_ptr<Tokenizer>> load_json(const files::Json& json);
// One that must load.
std::unique_ptr<Tokenizer> load_or_die(const files::Json& json);

}  // namespace nacelle::tokenizer
