#include "sidecar/tokenizer/normal_forms.h"

#include <algorithm>
#include <unordered_map>
#include <vector>

#include "sidecar/tokenizer/unicode.h"
#include "sidecar/tokenizer/utf8.h"

namespace nacelle::tokenizer {
namespace {

// Hangul syllables are composed by rule: Unicode Standard, 3.12.
constexpr char32_t kSyllables = 0xAC00;
constexpr char32_t kLeads = 0x1100;
constexpr char32_t kVowels = 0x1161;
constexpr char32_t kTrails = 0x11A7;  // one before the first
constexpr char32_t kLeadCount = 19;
constexpr char32_t kVowelCount = 21;
constexpr char32_t kTrailCount = 28;  // none is one of them
constexpr char32_t kSyllableCount = kLeadCount * kVowelCount * kTrailCount;

class Tables {
 public:
  Tables() : facts_(kCodePoints) {
    add_pairs();
    for (char32_t c = 0; c < kCodePoints; ++c) facts_[c] = stable_in(c);
    // What may be the second of a pair can change what is before it.
    const auto unstable = [&](char32_t c) {
      facts_[c] &= static_cast<std::uint8_t>(~(bit(Form::kNfc) | bit(Form::kNfkc)));
    };
    for (const auto& [pair, composed] : pairs_) unstable(static_cast<char32_t>(pair));
    for (char32_t c = kVowels; c < kVowels + kVowelCount; ++c) unstable(c);
    for (char32_t c = kTrails + 1; c < kTrails + kTrailCount; ++c) unstable(c);
  }

  static constexpr unsigned bit(Form form) { return static_cast<unsigned>(form); }

  // Whether a character is its own form and parts what is before it from what is behind it.
  [[nodiscard]] bool is_stable(char32_t c, Form form) const { return (facts_[c] & bit(form)) != 0; }

  // The character that two make; 0 when they make none.
  [[nodiscard]] char32_t compose(char32_t first, char32_t second) const {
    if (first >= kLeads && first < kLeads + kLeadCount && second >= kVowels &&
        second < kVowels + kVowelCount) {
      return kSyllables + ((first - kLeads) * kVowelCount + (second - kVowels)) * kTrailCount;
    }
    if (first >= kSyllables && first < kSyllables + kSyllableCount &&
        (first - kSyllables) % kTrailCount == 0 && second > kTrails &&
        second < kTrails + kTrailCount) {
      return first + (second - kTrails);
    }
    const auto found = pairs_.find(key(first, second));
    return found == pairs_.end() ? 0 : found->second;
  }

 private:
  static std::uint64_t key(char32_t first, char32_t second) {
    return std::uint64_t{first} << 32U | second;
  }

  void add_pairs() {
    // By rising length, so that the first of three is there before the three are.
    std::vector<std::vector<char32_t>> by_size(5);
    const std::vector<std::uint8_t>& facts = unicode_facts();
    for (char32_t c = 0; c < kCodePoints; ++c) {
      if ((facts[c] & kDecomposes) == 0 || (c >= kSyllables && c < kSyllables + kSyllableCount)) {
        continue;
      }
      if (composes_again(c)) by_size[decompose(c).count].push_back(c);
    }
    for (const auto& some : by_size) {
      for (const char32_t c : some) {
        const CodePoints parts = decompose(c);
        char32_t first = parts.values[0];
        for (std::size_t i = 1; i + 1 < parts.count; ++i) first = compose(first, parts.values[i]);
        pairs_.emplace(key(first, parts.values[parts.count - 1]), c);
      }
    }
  }

  static std::uint8_t stable_in(char32_t c) {
    if (combining_class(c) != 0) return 0;
    const bool canonical = (unicode_facts()[c] & kDecomposes) != 0;
    std::u32string compatible;
    append_compatible(c, compatible);
    const bool compatibly = compatible.size() != 1 || compatible[0] != c;
    unsigned stable = 0;
    if (!canonical) stable |= bit(Form::kNfd);
    if (!compatibly) stable |= bit(Form::kNfkd);
    const bool syllable = c >= kSyllables && c < kSyllables + kSyllableCount;
    if (!canonical || syllable || composes_again(c)) stable |= bit(Form::kNfc);
    // Not changed by compatibility: its decomposition there is the canonical one.
    const CodePoints parts = decompose(c);
    if ((stable & bit(Form::kNfc)) != 0 &&
        std::equal(parts.begin(), parts.end(), compatible.begin(), compatible.end())) {
      stable |= bit(Form::kNfkc);
    }
    return static_cast<std::uint8_t>(stable);
  }

  std::vector<std::uint8_t> facts_;  // [kCodePoints] the forms in which each is stable
  std::unordered_map<std::uint64_t, char32_t> pairs_;
};

const Tables& tables() {
  static const Tables built;
  return built;
}

void decompose_into(char32_t c, bool compatibly, std::u32string& out) {
  if (compatibly) {
    append_compatible(c, out);
    return;
  }
  const CodePoints parts = decompose(c);
  out.append(parts.begin(), parts.end());
}

// Canonical ordering: marks that follow one starter, by class.
void reorder(std::u32string& text) {
  for (auto begin = text.begin(); begin != text.end();) {
    if (combining_class(*begin) == 0) {
      ++begin;
      continue;
    }
    auto end = begin;
    std::vector<std::pair<std::uint8_t, char32_t>> marks;
    for (; end != text.end() && combining_class(*end) != 0; ++end) {
      marks.emplace_back(combining_class(*end), *end);
    }
    std::stable_sort(marks.begin(), marks.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    for (const auto& mark : marks) *begin++ = mark.second;
  }
}

// Joins each mark or letter with the starter before it, unless something between blocks it.
void recompose(std::u32string& text) {
  if (text.empty()) return;
  constexpr unsigned kBlocked = 256;  // no starter yet
  std::size_t starter = 0;
  std::size_t size = 1;
  unsigned last_class = combining_class(text[0]) == 0 ? 0 : kBlocked;
  for (std::size_t i = 1; i < text.size(); ++i) {
    const char32_t c = text[i];
    const unsigned its_class = combining_class(c);
    const char32_t composed = tables().compose(text[starter], c);
    if (composed != 0 && (last_class < its_class || last_class == 0)) {
      text[starter] = composed;
      continue;
    }
    if (its_class == 0) starter = size;
    last_class = its_class;
    text[size++] = c;
  }
  text.resize(size);
}

}  // namespace

void append_normal_form(std::string_view text, Form form, std::string& out) {
  const Tables& facts = tables();
  const bool compatibly = form == Form::kNfkc || form == Form::kNfkd;
  const bool composes = form == Form::kNfc || form == Form::kNfkc;
  std::u32string changed;
  std::size_t done = 0;  // what is before it is written
  while (done < text.size()) {
    // Stable characters stay, all but the last of them, which the next one may join.
    std::size_t last = done;
    std::size_t end = done;
    while (end < text.size()) {
      if (static_cast<unsigned char>(text[end]) < 0x80) {
        last = end++;
        continue;
      }
      std::size_t after = end;
      if (!facts.is_stable(decode(text, after), form)) break;
      last = end;
      end = after;
    }
    if (end == text.size()) {
      out.append(text, done);
      return;
    }
    out.append(text, done, last - done);
    changed.clear();
    if (last < end) decompose_into(decode(text, last), compatibly, changed);
    while (end < text.size()) {
      std::size_t after = end;
      const char32_t c = decode(text, after);
      if (facts.is_stable(c, form)) break;
      decompose_into(c, compatibly, changed);
      end = after;
    }
    reorder(changed);
    if (composes) recompose(changed);
    for (const char32_t c : changed) append(out, c);
    done = end;
  }
}

}  // namespace nacelle::tokenizer
