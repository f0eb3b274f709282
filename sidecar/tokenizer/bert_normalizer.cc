// BERT's normalizer: clean the text, set ideographs apart, strip accents, lower the case; each
// optional, in this order.
//
//   clean_text            drops controls, formats, private use and U+FFFD; white space becomes ' '
//   handle_chinese_chars  puts a space before and behind each ideograph
//   strip_accents         canonical decomposition, without nonspacing marks; null: as lowercase
//   lowercase             each character by itself
//
// One pass. What one character becomes depends on no other, but for canonical ordering: marks that
// survive strip_accents are sorted by their class before the next starter is written.
#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "sidecar/tokenizer/component.h"
#include "sidecar/tokenizer/unicode.h"
#include "sidecar/tokenizer/utf8.h"

namespace nacelle::tokenizer {
namespace {

// Marks that survived and wait for the next starter: class << 21 | code point, so that sorting
// looks no class up.
using Marks = std::vector<std::uint32_t>;
constexpr unsigned kCodePointBits = 21;
constexpr std::uint32_t kCodePointMask = (1U << kCodePointBits) - 1;

constexpr char kDropped = '\x80';  // in the table below: no ASCII character

struct Options {
  bool clean_text = true;
  bool handle_chinese_chars = true;
  bool strip_accents = true;
  bool lowercase = true;
};

class BertNormalizer final : public Normalizer {
 public:
  explicit BertNormalizer(const Options& options) : options_(options) {
    unsigned changes = 0;
    if (options.clean_text) changes |= kOther | kWhiteSpace;
    if (options.handle_chinese_chars) changes |= kIdeograph;
    if (options.strip_accents) changes |= kDecomposes | kNonspacing | kReorders;
    if (options.lowercase) changes |= kHasLower;
    changes_ = static_cast<std::uint8_t>(changes);

    for (std::size_t c = 0; c < ascii_.size(); ++c) {
      const bool dropped = options.clean_text && (facts_[c] & kOther) != 0;
      const bool space = options.clean_text && (facts_[c] & kWhiteSpace) != 0;
      const bool upper = options.lowercase && c >= 'A' && c <= 'Z';
      ascii_[c] = dropped ? kDropped
                  : space ? ' '
                  : upper ? static_cast<char>(c - 'A' + 'a')
                          : static_cast<char>(c);
    }
  }

  [[nodiscard]] bool normalize(std::string_view text, std::string& out) const override {
    Marks marks;
    std::size_t offset = 0;
    while (offset < text.size()) {
      if (marks.empty()) {
        offset = copy_ascii(text, offset, out);
        offset = copy_unchanged(text, offset, out);
        if (offset == text.size()) break;
      }
      change(decode(text, offset), marks, out);
    }
    write_marks(marks, out);
    return true;
  }

  [[nodiscard]] std::size_t cut(std::string_view text, std::size_t from) const override {
    while (from < text.size() && is_continuation(text[from])) ++from;
    while (from < text.size()) {
      std::size_t after = from;
      const std::uint8_t facts = facts_[decode(text, after)];
      // White space and ideographs are starters, so nothing before them waits for them.
      if ((facts & kWhiteSpace) != 0 && !(options_.clean_text && (facts & kOther) != 0)) break;
      if ((facts & kIdeograph) != 0 && options_.handle_chinese_chars) break;
      from = after;
    }
    return std::min(from, text.size());
  }

 private:
  // Writes the run of ASCII at `offset`; where it ends.
  std::size_t copy_ascii(std::string_view text, std::size_t offset, std::string& out) const {
    std::size_t end = offset;
    while (end < text.size() && static_cast<unsigned char>(text[end]) < 0x80) ++end;
    const std::size_t size_before = out.size();
    out.resize(size_before + (end - offset));
    char* write = out.data() + size_before;
    for (std::size_t i = offset; i < end; ++i) {
      const char changed = ascii_[static_cast<unsigned char>(text[i])];
      *write = changed;
      if (changed != kDropped) ++write;
    }
    out.resize(static_cast<std::size_t>(write - out.data()));
    return end;
  }

  // Copies the run of other characters at `offset` that stay as they are; where it ends.
  std::size_t copy_unchanged(std::string_view text, std::size_t offset, std::string& out) const {
    std::size_t end = offset;
    while (end < text.size() && static_cast<unsigned char>(text[end]) >= 0x80) {
      std::size_t after = end;
      if ((facts_[decode(text, after)] & changes_) != 0) break;
      end = after;
    }
    out.append(text, offset, end - offset);
    return end;
  }

  void change(char32_t code_point, Marks& marks, std::string& out) const {
    const unsigned facts = facts_[code_point] & changes_;
    if ((facts & kOther) != 0) return;
    if ((facts & kWhiteSpace) != 0) code_point = U' ';
    const bool apart = (facts & kIdeograph) != 0;
    if (apart) {
      write_marks(marks, out);
      out.push_back(' ');
    }
    if (options_.strip_accents) {
      strip(code_point, marks, out);
    } else {
      write(code_point, out);
    }
    if (apart) out.push_back(' ');
  }

  // Decomposes, drops nonspacing marks, writes starters and keeps other marks back.
  void strip(char32_t code_point, Marks& marks, std::string& out) const {
    CodePoints parts{.values = {code_point}, .count = 1};
    if ((facts_[code_point] & kDecomposes) != 0) parts = decompose(code_point);
    for (const char32_t part : parts) {
      if ((facts_[part] & kNonspacing) != 0) continue;
      if ((facts_[part] & kReorders) != 0) {
        marks.push_back(std::uint32_t{combining_class(part)} << kCodePointBits | part);
        continue;
      }
      write_marks(marks, out);
      write(part, out);
    }
  }

  // Canonical ordering is a stable sort by combining class. Sorting what is left after the
  // nonspacing marks went gives the same as dropping them from the sorted whole.
  void write_marks(Marks& marks, std::string& out) const {
    if (marks.size() > 1) {
      std::stable_sort(marks.begin(), marks.end(), [](std::uint32_t a, std::uint32_t b) {
        return a >> kCodePointBits < b >> kCodePointBits;
      });
    }
    for (const std::uint32_t mark : marks) write(mark & kCodePointMask, out);
    marks.clear();
  }

  void write(char32_t code_point, std::string& out) const {
    if (!options_.lowercase || (facts_[code_point] & kHasLower) == 0) {
      append(out, code_point);
      return;
    }
    for (const char32_t lower : to_lower(code_point)) append(out, lower);
  }

  Options options_;
  std::uint8_t changes_ = 0;  // the facts that keep a character from being copied as it is
  const std::uint8_t* facts_ = unicode_facts().data();
  std::array<char, 128> ascii_{};  // what each becomes, or kDropped
};

}  // namespace

base::Result<std::unique_ptr<Normalizer>> make_bert_normalizer(const Section& section) {
  const base::Status keys =
      section.only({"type", "clean_text", "handle_chinese_chars", "strip_accents", "lowercase"});
  if (!keys) return keys.error();
  Options options;
  const auto clean_text = section.boolean("clean_text");
  if (!clean_text) return clean_text.error();
  options.clean_text = *clean_text;
  const auto handle_chinese_chars = section.boolean("handle_chinese_chars");
  if (!handle_chinese_chars) return handle_chinese_chars.error();
  options.handle_chinese_chars = *handle_chinese_chars;
  const auto lowercase = section.boolean("lowercase");
  if (!lowercase) return lowercase.error();
  options.lowercase = *lowercase;
  options.strip_accents = *lowercase;
  if (section.has("strip_accents")) {
    const auto strip_accents = section.boolean("strip_accents");
    if (!strip_accents) return strip_accents.error();
    options.strip_accents = *strip_accents;
  }
  return std::unique_ptr<Normalizer>(std::make_unique<BertNormalizer>(options));
}

}  // namespace nacelle::tokenizer
