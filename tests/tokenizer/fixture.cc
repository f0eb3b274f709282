#include "tests/tokenizer/fixture.h"

#include <cstdlib>
#include <filesystem>

#include "sidecar/base/check.h"
#include "tests/support/temp_dir.h"

namespace nacelle::tokenizer {

files::Json small_tokenizer() { return read_golden(data_path("tokenizers/small/tokenizer.json")); }

files::Json merged(files::Json target, const files::Json& patch) {
  if (!patch.is_object() || !target.is_object() || patch.contains("type")) return patch;
  for (const auto& [key, value] : patch.items()) target[key] = merged(target[key], value);
  return target;
}

base::Result<std::unique_ptr<Tokenizer>> load_json(const files::Json& json) {
  const testing::TempDir dir;
  return Tokenizer::load(dir.write("tokenizer.json", json.dump()));
}

std::unique_ptr<Tokenizer> load_or_die(const files::Json& json) {
  auto tokenizer = load_json(json);
  CHECK(tokenizer.has_value());
  return std::move(*tokenizer);
}

}  // namespace nacelle::tokenizer
