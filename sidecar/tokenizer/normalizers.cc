// The normalizers of a few lines each: Unicode's forms, lower case, accents, white space at the
// ends, Nmt's clean-up, and texts replaced or put before.
#include <functional>

#include "sidecar/tokenizer/component.h"
#include "sidecar/tokenizer/normal_forms.h"
#include "sidecar/tokenizer/split.h"
#include "sidecar/tokenizer/unicode.h"
#include "sidecar/tokenizer/utf8.h"

namespace nacelle::tokenizer {
namespace {

class Unicode final : public Normalizer {
 public:
  explicit Unicode(Form form) : form_(form) {}
  [[nodiscard]] bool normalize(std::string_view text, std::string& out) const override {
    append_normal_form(text, form_, out);
    return true;
  }

 private:
  Form form_;
};

NormalizerResult make_form(const Section& section, Form form) {
  const base::Status keys = section.only({"type"});
  if (!keys) return keys.error();
  return std::unique_ptr<Normalizer>(std::make_unique<Unicode>(form));
}

class Lowercase final : public Normalizer {
 public:
  [[nodiscard]] bool normalize(std::string_view text, std::string& out) const override {
    const std::vector<std::uint8_t>& facts = unicode_facts();
    for (std::size_t offset = 0; offset < text.size();) {
      const std::size_t begin = offset;
      const char32_t c = decode(text, offset);
      if ((facts[c] & kHasLower) == 0) {
        out.append(text, begin, offset - begin);
        continue;
      }
      for (const char32_t lower : to_lower(c)) append(out, lower);
    }
    return true;
  }
};

class StripAccents final : public Normalizer {
 public:
  [[nodiscard]] bool normalize(std::string_view text, std::string& out) const override {
    for (std::size_t offset = 0; offset < text.size();) {
      const std::size_t begin = offset;
      const char32_t c = decode(text, offset);
      if (c < 0x80 || !is_mark(c)) out.append(text, begin, offset - begin);
    }
    return true;
  }
};

class Strip final : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}
  [[nodiscard]] bool normalize(std::string_view text, std::string& out) const override {
    const std::vector<std::uint8_t>& facts = unicode_facts();
    std::size_t first = text.size();  // what is not white space begins
    std::size_t last = text.size();   // and ends here
    for (std::size_t offset = 0; offset < text.size();) {
      const std::size_t begin = offset;
      if ((facts[decode(text, offset)] & kWhiteSpace) != 0) continue;
      if (first == text.size()) first = begin;
      last = offset;
    }
    const std::size_t begin = left_ ? first : 0;
    const std::size_t end = right_ ? last : text.size();
    // Of white space alone, either side takes all of it.
    if (begin < end && first < text.size()) out.append(text, begin, end - begin);
    if (first == text.size() && !left_ && !right_) out += text;
    return true;
  }

 private:
  bool left_;
  bool right_;
};

// SentencePiece's rules of the same name, before its map of characters: controls go, and what looks
// like a space becomes one.
class Nmt final : public Normalizer {
 public:
  [[nodiscard]] bool normalize(std::string_view text, std::string& out) const override {
    for (std::size_t offset = 0; offset < text.size();) {
      const std::size_t begin = offset;
      const char32_t c = decode(text, offset);
      if (is_dropped(c)) continue;
      if (is_space(c)) {
        out += ' ';
      } else {
        out.append(text, begin, offset - begin);
      }
    }
    return true;
  }

 private:
  static bool is_dropped(char32_t c) {
    return (c >= 0x01 && c <= 0x08) || c == 0x0B || (c >= 0x0E && c <= 0x1F) || c == 0x7F ||
           c == 0x8F || c == 0x9F;
  }
  static bool is_space(char32_t c) {
    return c == 0x09 || c == 0x0A || c == 0x0C || c == 0x0D || c == 0x1680 ||
           (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
           c == 0xFEFF || c == 0xFFFD;
  }
};

class Prepend final : public Normalizer {
 public:
  explicit Prepend(std::string before) : before_(std::move(before)) {}
  [[nodiscard]] bool normalize(std::string_view text, std::string& out) const override {
    if (!text.empty()) out += before_;
    out += text;
    return true;
  }

 private:
  std::string before_;
};

class Replace final : public Normalizer {
 public:
  Replace(std::unique_ptr<Pattern> pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  [[nodiscard]] bool normalize(std::string_view text, std::string& out) const override {
    return replace_matches(text, *pattern_, content_, out);
  }

 private:
  std::unique_ptr<Pattern> pattern_;
  std::string content_;
};

base::Result<std::string> read_insert(const Section& section, std::string_view name) {
  auto text = section.text(name);
  if (text && text->size() > kInsertSizeMax) {
    return section.error(name, "is longer than " + std::to_string(kInsertSizeMax) + " bytes");
  }
  return text;
}

template <typename Made>
NormalizerResult make_plain(const Section& section) {
  const base::Status keys = section.only({"type"});
  if (!keys) return keys.error();
  return std::unique_ptr<Normalizer>(std::make_unique<Made>());
}

}  // namespace

NormalizerResult make_nfc(const Section& section) { return make_form(section, Form::kNfc); }
NormalizerResult make_nfd(const Section& section) { return make_form(section, Form::kNfd); }
NormalizerResult make_nfkc(const Section& section) { return make_form(section, Form::kNfkc); }
NormalizerResult make_nfkd(const Section& section) { return make_form(section, Form::kNfkd); }
NormalizerResult make_lowercase(const Section& section) { return make_plain<Lowercase>(section); }
NormalizerResult make_strip_accents(const Section& section) {
  return make_plain<StripAccents>(section);
}
NormalizerResult make_nmt(const Section& section) { return make_plain<Nmt>(section); }

NormalizerResult make_strip(const Section& section) {
  const base::Status keys = section.only({"type", "strip_left", "strip_right"});
  if (!keys) return keys.error();
  const auto left = section.boolean("strip_left");
  if (!left) return left.error();
  const auto right = section.boolean("strip_right");
  if (!right) return right.error();
  return std::unique_ptr<Normalizer>(std::make_unique<Strip>(*left, *right));
}

NormalizerResult make_prepend(const Section& section) {
  const base::Status keys = section.only({"type", "prepend"});
  if (!keys) return keys.error();
  auto before = read_insert(section, "prepend");
  if (!before) return before.error();
  return std::unique_ptr<Normalizer>(std::make_unique<Prepend>(std::move(*before)));
}

NormalizerResult make_replace(const Section& section) {
  const base::Status keys = section.only({"type", "pattern", "content"});
  if (!keys) return keys.error();
  auto content = read_insert(section, "content");
  if (!content) return content.error();
  auto pattern = make_pattern(section);
  if (!pattern) return pattern.error();
  return std::unique_ptr<Normalizer>(
      std::make_unique<Replace>(std::move(*pattern), std::move(*content)));
}

}  // namespace nacelle::tokenizer
