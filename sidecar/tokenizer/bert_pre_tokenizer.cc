// BERT's words: split at white space, which goes, and around punctuation, whose characters are
// words of their own.
#include <array>

#include "sidecar/tokenizer/component.h"
#include "sidecar/tokenizer/unicode.h"
#include "sidecar/tokenizer/utf8.h"

namespace nacelle::tokenizer {
namespace {

class BertPreTokenizer final : public PreTokenizer {
 public:
  [[nodiscard]] std::string_view next(Cursor& cursor) const override {
    const std::string_view text = cursor.text;
    std::size_t start = cursor.offset;
    while (start < text.size()) {
      std::size_t end = start;
      const std::uint8_t first = facts_[decode(text, end)];
      if ((first & kWhiteSpace) != 0) {
        start = end;
        continue;
      }
      if ((first & kPunctuation) == 0) end = word_end(text, end);
      cursor.offset = end;
      return text.substr(start, end - start);
    }
    cursor.offset = start;
    return {};
  }

  [[nodiscard]] bool splits_at_white_space() const override { return true; }

 private:
  // Where the word that `offset` is inside of ends.
  [[nodiscard]] std::size_t word_end(std::string_view text, std::size_t offset) const {
    while (offset < text.size()) {
      std::size_t after = offset;
      if ((facts_[decode(text, after)] & (kWhiteSpace | kPunctuation)) != 0) break;
      offset = after;
    }
    return offset;
  }

  const std::uint8_t* facts_ = unicode_facts().data();
};

}  // namespace

base::Result<std::unique_ptr<PreTokenizer>> make_bert_pre_tokenizer(const Section& section) {
  const base::Status keys = section.only({"type"});
  if (!keys) return keys.error();
  return std::unique_ptr<PreTokenizer>(std::make_unique<BertPreTokenizer>());
}

}  // namespace nacelle::tokenizer
