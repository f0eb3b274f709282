// "Did you mean ...?": the known name that is closest to an unknown one.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace nacelle::base {

// Longer words are never compared: no name of ours is that long.
inline constexpr std::size_t kSuggestWordMax = 64;

// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b` (the optimal
// string alignment distance). Both have at most kSuggestWordMax bytes.
inline std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::array<std::array<std::size_t, kSuggestWordMax + 1>, 3> rows{};
  for (std::size_t j = 0; j <= b.size(); ++j) rows[0][j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    auto& row = rows[i % 3];
    const auto& above = rows[(i + 2) % 3];
    const auto& above_two = rows[(i + 1) % 3];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replace = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, replace});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], above_two[j - 2] + 1);
      }
    }
  }
  return rows[a.size() % 3][b.size()];
}

// The name that `word` was most likely meant to be: one that ends in ".word" (the group was left
// out), else the closest within a third of the word's length. Nothing when no name is that close.
inline std::optional<std::string> suggest(std::string_view word,
                                          std::span<const std::string> names) {
  if (word.empty() || word.size() > kSuggestWordMax) return std::nullopt;
  const std::string ending = "." + std::string(word);
  std::optional<std::string> best;
  std::size_t best_distance = std::max<std::size_t>(1, word.size() / 3) + 1;
  for (const std::string& name : names) {
    if (name.size() > kSuggestWordMax) continue;
    const bool same_end = name.size() > ending.size() &&
                          std::string_view(name).substr(name.size() - ending.size()) == ending;
    const std::size_t distance = same_end ? 0 : edit_distance(word, name);
    if (distance >= best_distance) continue;
    best_distance = distance;
    best = name;
  }
  return best;
}

// The suggestion as the end of a sentence: `; did you mean "x"?`, or nothing.
inline std::string did_you_mean(std::string_view word, std::span<const std::string> names) {
  const std::optional<std::string> name = suggest(word, names);
  return name ? "; did you mean \"" + *name + "\"?" : "";
}

}  // namespace nacelle::base
