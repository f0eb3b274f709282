// Fields of a JSON object with bounds: what a model's config file may say, and nothing else.
//
// The first problem is kept and later ones are dropped, so a reader takes all its fields in a row
// and asks once at the end. A field of value null counts as missing, as in Python.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "sidecar/base/result.h"
#include "sidecar/files/json.h"

namespace nacelle::model {

// A value fit for a message: in quotes once, shortened.
std::string shown(const files::Json& value);

class Fields {
 public:
  // `file` stands before every message. Both outlive this object.
  Fields(const files::Json& object, const std::string& file);

  // A whole number in [min, max]; missing is an error unless there is a fallback.
  std::uint32_t count(const char* name, std::uint32_t min, std::uint32_t max,
                      std::optional<std::uint32_t> fallback = std::nullopt);
  // A number in (0, max].
  float positive(const char* name, float max, float fallback);
  bool flag(const char* name, bool fallback);
  std::string text(const char* name, std::string_view fallback);

  // The value, or nullptr when it is missing or null.
  [[nodiscard]] const files::Json* find(const char* name) const;

  // Notes a problem that the caller found: "config.json: hidden_act: <problem>".
  void refuse(const char* name, const std::string& problem);

  // The first problem, if any.
  [[nodiscard]] base::Status status() const;

 private:
  const files::Json& object_;
  const std::string& file_;
  std::optional<base::Error> error_;
};

}  // namespace nacelle::model
