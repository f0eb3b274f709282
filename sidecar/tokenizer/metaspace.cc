// Metaspace: spaces become a visible mark, "▁", which words begin with.
#include "sidecar/tokenizer/metaspace.h"

#include <algorithm>

#include "sidecar/tokenizer/utf8.h"

namespace nacelle::tokenizer {
namespace {

class MetaspacePreTokenizer final : public PreTokenizer {
 public:
  explicit MetaspacePreTokenizer(const Metaspace& rules) : rules_(rules) {}

  void start(Cursor& cursor) const override {
    if (cursor.text.empty()) return;
    std::string& own = cursor.own;
    own.clear();
    own.reserve(cursor.text.size() + 3 * rules_.mark.size());
    const bool begins_with_mark =
        cursor.text.front() == ' ' || cursor.text.starts_with(rules_.mark);
    const bool wanted = rules_.prepend == Metaspace::Prepend::kAlways ||
                        (rules_.prepend == Metaspace::Prepend::kFirst && cursor.begins_text);
    if (wanted && !begins_with_mark) own += rules_.mark;
    for (std::size_t begin = 0; begin < cursor.text.size();) {
      const std::size_t space = std::min(cursor.text.find(' ', begin), cursor.text.size());
      own.append(cursor.text, begin, space - begin);
      if (space < cursor.text.size()) own += rules_.mark;
      begin = space + 1;
    }
    cursor.text = own;
  }

  [[nodiscard]] std::string_view next(Cursor& cursor) const override {
    const std::size_t begin = cursor.offset;
    std::size_t end = cursor.text.size();
    if (rules_.split && begin < end) {
      end = std::min(cursor.text.find(rules_.mark, begin + first_size(cursor.text, begin)), end);
    }
    cursor.offset = end;
    return cursor.text.substr(begin, end - begin);
  }

  [[nodiscard]] bool asks_for_start() const override {
    return rules_.prepend == Metaspace::Prepend::kFirst;
  }

 private:
  static std::size_t first_size(std::string_view text, std::size_t begin) {
    std::size_t after = begin;
    skip(text, after);
    return after - begin;
  }

  Metaspace rules_;
};

class MetaspaceDecoder final : public Decoder {
 public:
  explicit MetaspaceDecoder(const Metaspace& rules) : rules_(rules) {}

  [[nodiscard]] bool decode(std::vector<std::string>& pieces) const override {
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      std::string text;
      const bool drops = i == 0 && rules_.prepend != Metaspace::Prepend::kNever;
      for (std::size_t begin = 0; begin < pieces[i].size();) {
        const std::size_t mark = std::min(pieces[i].find(rules_.mark, begin), pieces[i].size());
        text.append(pieces[i], begin, mark - begin);
        if (mark < pieces[i].size() && !drops) text += ' ';
        begin = mark + rules_.mark.size();
      }
      pieces[i] = std::move(text);
    }
    return true;
  }

 private:
  Metaspace rules_;
};

}  // namespace

base::Result<Metaspace> read_metaspace(const Section& section) {
  const base::Status keys = section.only(
      {"type", "replacement", "str_rep", "add_prefix_space", "prepend_scheme", "split"});
  if (!keys) return keys.error();
  Metaspace rules;
  const auto mark = section.character("replacement");
  if (!mark) return mark.error();
  append(rules.mark, *mark);
  // Older files tell only whether to prepend.
  const auto adds = section.boolean_or("add_prefix_space", true);
  if (!adds) return adds.error();
  rules.prepend = *adds ? Metaspace::Prepend::kAlways : Metaspace::Prepend::kNever;
  if (section.has("prepend_scheme")) {
    const auto scheme = section.text("prepend_scheme");
    if (!scheme) return scheme.error();
    if (*scheme == "always") {
      rules.prepend = Metaspace::Prepend::kAlways;
    } else if (*scheme == "first") {
      rules.prepend = Metaspace::Prepend::kFirst;
    } else if (*scheme == "never") {
      rules.prepend = Metaspace::Prepend::kNever;
    } else {
      return section.error("prepend_scheme", files::in_quotes(*scheme) +
                                                 " is not known; known: always, first, never");
    }
    if (section.has("add_prefix_space") &&
        !*adds != (rules.prepend == Metaspace::Prepend::kNever)) {
      return section.error("prepend_scheme", "contradicts add_prefix_space");
    }
  }
  const auto split = section.boolean_or("split", true);
  if (!split) return split.error();
  rules.split = *split;
  return rules;
}

PreTokenizerResult make_metaspace(const Section& section) {
  const auto rules = read_metaspace(section);
  if (!rules) return rules.error();
  return std::unique_ptr<PreTokenizer>(std::make_unique<MetaspacePreTokenizer>(*rules));
}

DecoderResult make_metaspace_decoder(const Section& section) {
  const auto rules = read_metaspace(section);
  if (!rules) return rules.error();
  return std::unique_ptr<Decoder>(std::make_unique<MetaspaceDecoder>(*rules));
}

}  // namespace nacelle::tokenizer
