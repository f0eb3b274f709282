// Splitting by a pattern: where the matches are, and which side the matches go to.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "sidecar/base/result.h"
#include "sidecar/tokenizer/component.h"

namespace nacelle::tokenizer {

class Pattern {
 public:
  virtual ~Pattern() = default;

  struct Match {
    std::size_t begin = 0;
    std::size_t end = 0;
  };
  enum class Answer { kFound, kNone, kTooSlow };

  // The first match at or after `from`. An empty one at `last_end`, behind the match before, does
  // not count.
  [[nodiscard]] virtual Answer find(std::string_view text, std::size_t from, std::size_t last_end,
                                    Match& match) const = 0;
};

// All searches of this thread by the library, until the next call, are for one text of `size`
// bytes: they have a second of processor time together, and one more for each MiB.
void start_pattern_clock(std::size_t size);

// The pattern that GPT-2 splits words with.
inline constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// A regular expression in Oniguruma's syntax. The well-known ones are matched by hand, in linear
// time; the others by the library, with limits of its steps and time. `section` is for the message.
base::Result<std::unique_ptr<Pattern>> make_regex(const Section& section, std::string_view regex);
// Always by the library: for tests.
base::Result<std::unique_ptr<Pattern>> make_library_regex(const Section& section,
                                                          std::string_view regex);
// The matcher of a well-known expression; nullptr for others.
std::unique_ptr<Pattern> make_known_pattern(std::string_view regex);
// Every character of a kind by itself.
std::unique_ptr<Pattern> make_char_pattern(std::function<bool(char32_t)> is_match);
// Refuses a file whose expressions are too long all together: a few bytes can ask for a large class
// of characters. What 4 KiB compile to takes 45 MiB and 0.2 s at most, as far as is known.
base::Status check_patterns(const Section& root);
// From the field "pattern": {"String": ...} or {"Regex": ...}.
base::Result<std::unique_ptr<Pattern>> make_pattern(const Section& section);

// What becomes of the matches and the stretches between them.
enum class Behavior {
  kRemoved,             // the matches go
  kIsolated,            // each is a word of its own
  kMergedWithPrevious,  // a match goes to the stretch before it
  kMergedWithNext,      // or behind it
  kContiguous,          // neighbouring matches are one word
};
// From the field "behavior".
base::Result<Behavior> read_behavior(const Section& section);

struct SplitRule {
  Behavior behavior = Behavior::kIsolated;
  bool invert = false;  // the stretches between matches are the matches
};

// The next word of the cursor's piece; empty when there is none left, or the pattern fails.
std::string_view next_word(Cursor& cursor, const Pattern& pattern, SplitRule rule);

// `text` with every match replaced, appended; false as Normalizer::normalize.
[[nodiscard]] bool replace_matches(std::string_view text, const Pattern& pattern,
                                   std::string_view content, std::string& out);

}  // namespace nacelle::tokenizer
