// Where tests find models and recorded answers: in the source tree, and in the optional assets.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>

#include "sidecar/base/check.h"
#include "sidecar/files/json.h"

namespace nacelle::testing {

// tests/data/<name> of the source tree.
inline std::string data_path(const std::string& name) {
  return std::string(NACELLE_SOURCE_DIR) + "/tests/data/" + name;
}

// <assets>/<name>, when the optional assets are there: NACELLE_ASSETS, or shared/assets beside the
// source tree.
inline std::optional<std::string> asset_path(const std::string& name) {
  namespace fs = std::filesystem;
  const char* chosen = std::getenv("NACELLE_ASSETS");
  const fs::path root = chosen != nullptr
                            ? fs::path(chosen)
                            : fs::path(NACELLE_SOURCE_DIR) / ".." / "shared" / "assets";
  std::error_code ignored;
  if (!fs::exists(root / name, ignored)) return std::nullopt;
  return (root / name).string();
}

// The JSON of a file that must be there.
inline files::Json read_golden(const std::string& path) {
  auto json = files::read_json(path, std::size_t{64} << 20);
  if (!json) ADD_FAILURE() << json.error().message;
  CHECK(json.has_value());
  return *std::move(json);
}

}  // namespace nacelle::testing
