// One object of tokenizer.json, read field by field. Every error says where it stands: "<file>:
// model.vocab: ...".
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "sidecar/base/result.h"
#include "sidecar/files/json.h"

namespace nacelle::tokenizer {

class Section {
 public:
  // `json` must outlive the section. `file` and `place` ("model", "added_tokens[3]") are for
  // messages; the root's place is "".
  Section(const files::Json& json, std::string file, std::string place)
      : json_(&json), file_(std::move(file)), place_(std::move(place)) {}

  [[nodiscard]] const files::Json& json() const { return *json_; }

  // An error about this section, or about its field `name`.
  [[nodiscard]] base::Error error(const std::string& problem) const;
  [[nodiscard]] base::Error error(std::string_view name, const std::string& problem) const;
  // About an element of the list in its field `name`.
  [[nodiscard]] base::Error error(std::string_view name, std::size_t index,
                                  const std::string& problem) const;

  // Refuses anything but an object with these keys: an unknown key could change what the file
  // means.
  [[nodiscard]] base::Status only(std::initializer_list<std::string_view> names) const;

  // Whether the field is there and not null.
  [[nodiscard]] bool has(std::string_view name) const;

  // Required fields of a type.
  [[nodiscard]] base::Result<std::string> text(std::string_view name) const;
  [[nodiscard]] base::Result<std::string_view> view(std::string_view name) const;  // of the json
  [[nodiscard]] base::Result<bool> boolean(std::string_view name) const;
  [[nodiscard]] base::Result<char32_t> character(std::string_view name) const;
  [[nodiscard]] base::Result<std::uint32_t> number(std::string_view name, std::uint32_t max) const;
  [[nodiscard]] base::Result<Section> object(std::string_view name) const;

  // A field that may be missing or null.
  [[nodiscard]] base::Result<bool> boolean_or(std::string_view name, bool otherwise) const;

  // A required list of at most `size_max`.
  [[nodiscard]] base::Result<Section> list(std::string_view name, std::size_t size_max) const;
  // The element of a list section; `index` must be inside.
  [[nodiscard]] Section element(std::size_t index) const;

 private:
  [[nodiscard]] std::string place_of(std::string_view name) const;
  [[nodiscard]] const files::Json* find(std::string_view name) const;

  const files::Json* json_;
  std::string file_;
  std::string place_;
};

}  // namespace nacelle::tokenizer
