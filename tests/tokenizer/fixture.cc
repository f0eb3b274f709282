#include "tests/tokenizer/fixture.h"

#include <cstdlib>
#include <filesystem>

#include "sidecar/base/check.h"
#include "tests/support/temp_dir.h"

namespace nacelle::tokenizer {

std::string data_path(const std::string& name) {
  return std::string(NACELLE_SOURCE_DIR) + "/tests/data/" + name;
}

std::optional<std::string> asset_path(const std::string& name) {
  const char* chosen = std::getenv("NACELLE_ASSETS");
  const std::string root =
      chosen != nullptr ? chosen : std::string(NACELLE_SOURCE_DIR) + "/../shared/assets";
  const std::string path = root + "/" + name;
  if (!std::filesystem::exists(path)) return std::nullopt;
  return path;
}

files::Json read_golden(const std::string& path) {
  auto json = files::read_json(path, 64U << 20U);
  CHECK(json.has_value());
  return std::move(*json);
}

files::Json small_tokenizer() { return read_golden(data_path("tokenizers/small/tokenizer.json")); }

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
