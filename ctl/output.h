// What a command prints: aligned text for people, or one JSON document for scripts.
//
// Names and paths may come from other processes: bytes that a terminal would act on are shown as
// escapes, and columns are aligned by the width a terminal gives them (한글 takes four columns).
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace nacelle::ctl {

class Output {
 public:
  enum class Side { kLeft, kRight };  // where a column's text is aligned
  struct Column {
    std::string_view title;
    Side side = Side::kLeft;
  };

  // With `json`, wants_json() is true, and a command calls json() once and nothing else.
  explicit Output(bool json) : json_(json) {}
  [[nodiscard]] bool wants_json() const { return json_; }
  void json(const nlohmann::json& document);

  // As it is, for formats that programs read.
  void verbatim(std::string_view text) { text_ += text; }
  void line(std::string_view text);
  void heading(std::string_view text);  // with an empty line before, unless it is the first
  // "  label      value", the values in one column.
  void row(std::string_view label, std::string_view value);
  // Titles, then rows of as many cells. At most as wide as its contents.
  void table(const std::vector<Column>& columns, const std::vector<std::vector<std::string>>& rows);

  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  bool json_;
  std::string text_;
};

// For people: "1,234,567", "1.4 GiB", "2 h 14 min".
std::string count_text(std::uint64_t count);
std::string bytes_text(std::uint64_t bytes);
std::string duration_text(std::uint64_t seconds);

// `items` with ", " between them; "none" when there are none.
std::string list_text(const std::vector<std::string>& items);

// Without bytes that a terminal acts on: control characters and broken UTF-8 as \xNN.
std::string printable(std::string_view text);

// Columns that a terminal uses for printable text.
std::size_t display_width(std::string_view text);

}  // namespace nacelle::ctl
