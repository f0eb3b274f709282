#include "ctl/output.h"

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <nlohmann/json.hpp>
#include <span>

#include "sidecar/base/check.h"
#include "sidecar/base/utf8.h"

namespace nacelle::ctl {
namespace {

constexpr std::size_t kLabelWidth = 14;

struct Character {
  std::size_t size = 1;  // bytes
  char32_t code = 0;     // meaningless when not valid
  bool valid = false;
};

Character first_character(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text.front());
  const std::size_t size = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (text.size() < size || base::find_invalid_utf8(text.substr(0, size))) return {};
  // The lead byte of n bytes holds 7 - n bits (7 of a single one), each further byte 6.
  char32_t code = size == 1 ? lead : lead & ((1U << (7 - size)) - 1);
  for (const char c : text.substr(1, size - 1)) {
    code = code << 6 | (static_cast<unsigned char>(c) & 0x3fU);
  }
  return {size, code, true};
}

struct Range {
  char32_t first;
  char32_t last;
};
bool in_any(std::span<const Range> ranges, char32_t code) {
  return std::any_of(ranges.begin(), ranges.end(),
                     [code](Range range) { return range.first <= code && code <= range.last; });
}

// Control characters, and those that turn the direction of writing around.
bool acts_on_terminal(char32_t code) {
  static constexpr Range kActing[] = {
      {0x00, 0x1f}, {0x7f, 0x9f}, {0x200e, 0x200f}, {0x2028, 0x202e}, {0x2066, 0x2069}};
  return in_any(kActing, code);
}

// The large blocks of East Asian Wide and Fullwidth of Unicode TR 11, and the emoji.
bool is_wide(char32_t code) {
  static constexpr Range kWide[] = {{0x1100, 0x115f},  {0x2e80, 0xa4cf},   {0xac00, 0xd7a3},
                                    {0xf900, 0xfaff},  {0xfe30, 0xfe6f},   {0xff00, 0xff60},
                                    {0xffe0, 0xffe6},  {0x1f300, 0x1f64f}, {0x1f900, 0x1f9ff},
                                    {0x20000, 0x3fffd}};
  return in_any(kWide, code);
}

std::string padded(const std::string& text, std::size_t width, Output::Side side) {
  const std::size_t used = display_width(text);
  const std::string padding(width > used ? width - used : 0, ' ');
  return side == Output::Side::kLeft ? text + padding : padding + text;
}

void append_line(std::string& text, std::string line) {
  while (!line.empty() && line.back() == ' ') line.pop_back();
  text += line + "\n";
}

}  // namespace

void Output::json(const nlohmann::json& document) {
  text_ += document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

void Output::line(std::string_view text) { append_line(text_, printable(text)); }

void Output::heading(std::string_view text) {
  if (!text_.empty()) text_ += "\n";
  line(text);
}

void Output::row(std::string_view label, std::string_view value) {
  append_line(text_, "  " + padded(printable(label), kLabelWidth, Side::kLeft) + printable(value));
}

void Output::table(const std::vector<Column>& columns,
                   const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::vector<std::string>> cells(1);
  for (const Column& column : columns) cells[0].emplace_back(column.title);
  for (const auto& row : rows) {
    CHECK(row.size() == columns.size());
    auto& shown = cells.emplace_back();
    for (const std::string& cell : row) shown.push_back(cell.empty() ? "-" : printable(cell));
  }
  std::vector<std::size_t> widths(columns.size());
  for (const auto& row : cells) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], display_width(row[i]));
    }
  }
  for (const auto& row : cells) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += "  " + padded(row[i], widths[i], columns[i].side);
    }
    append_line(text_, line);
  }
}

std::string count_text(std::uint64_t count) {
  std::string digits = std::to_string(count);
  for (std::size_t i = digits.size(); i > 3; i -= 3) digits.insert(i - 3, ",");
  return digits;
}

std::string bytes_text(std::uint64_t bytes) {
  constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB"};
  if (bytes < 1024) return std::to_string(bytes) + " B";
  double value = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  // From 1023.95 on, one digit behind the point would show 1024.0 of the smaller unit.
  while (value >= 1023.95 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, "%.1f %s", value, kUnits[unit]);
  return text;
}

std::string duration_text(std::uint64_t seconds) {
  const auto pair = [](std::uint64_t big, const char* big_unit, std::uint64_t small,
                       const char* small_unit) {
    return std::to_string(big) + " " + big_unit + " " + std::to_string(small) + " " + small_unit;
  };
  const std::uint64_t minutes = seconds / 60;
  const std::uint64_t hours = minutes / 60;
  if (minutes == 0) return std::to_string(seconds) + " s";
  if (hours == 0) return pair(minutes, "min", seconds % 60, "s");
  if (hours < 24) return pair(hours, "h", minutes % 60, "min");
  return pair(hours / 24, "d", hours % 24, "h");
}

std::string list_text(const std::vector<std::string>& items) {
  if (items.empty()) return "none";
  std::string text;
  for (const std::string& item : items) text += (text.empty() ? "" : ", ") + item;
  return text;
}

std::string printable(std::string_view text) {
  std::string shown;
  while (!text.empty()) {
    const Character character = first_character(text);
    char escaped[16];
    if (!character.valid) {
      std::snprintf(escaped, sizeof escaped, "\\x%02x",
                    static_cast<unsigned>(static_cast<unsigned char>(text.front())));
      shown += escaped;
    } else if (acts_on_terminal(character.code)) {
      std::snprintf(escaped, sizeof escaped, character.code < 0x100 ? "\\x%02x" : "\\u%04x",
                    static_cast<unsigned>(character.code));
      shown += escaped;
    } else {
      shown += text.substr(0, character.size);
    }
    text.remove_prefix(character.size);
  }
  return shown;
}

std::size_t display_width(std::string_view text) {
  std::size_t width = 0;
  while (!text.empty()) {
    const Character character = first_character(text);
    width += character.valid && is_wide(character.code) ? 2U : 1U;
    text.remove_prefix(character.size);
  }
  return width;
}

}  // namespace nacelle::ctl
