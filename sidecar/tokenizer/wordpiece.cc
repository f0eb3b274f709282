// WordPiece: a word is cut from the left into the longest pieces of the vocabulary, all but the
// first marked by a prefix ("##"). A word that cannot be cut whole, or is too long, is one unknown
// token.
//
// Google's BERT: https://github.com/google-research/bert (tokenization). One walk of the trie per
// piece; a word has at most `max_input_chars_per_word` characters.
#include "sidecar/tokenizer/component.h"
#include "sidecar/tokenizer/pieces.h"
#include "sidecar/tokenizer/utf8.h"
#include "sidecar/tokenizer/vocabulary.h"

namespace nacelle::tokenizer {
namespace {

// The longest word that a file may ask for. BERT's is 100. Bounds the work per character: the
// pieces tried at one place are no longer than the word.
constexpr std::uint32_t kWordCharsMax = 1000;

class WordPiece final : public Algorithm {
 public:
  explicit WordPiece(std::size_t file_size) : vocabulary_(Vocabulary::slots_max(file_size)) {}

  static base::Result<std::unique_ptr<Algorithm>> make(const Section& section, ModelLists& lists) {
    const base::Status keys = section.only(
        {"type", "unk_token", "continuing_subword_prefix", "max_input_chars_per_word", "vocab"});
    if (!keys) return keys.error();
    const auto unknown = section.text("unk_token");
    if (!unknown) return unknown.error();
    const auto prefix = section.text("continuing_subword_prefix");
    if (!prefix) return prefix.error();
    const auto chars_max = section.number("max_input_chars_per_word", kWordCharsMax);
    if (!chars_max) return chars_max.error();

    auto result = std::make_unique<WordPiece>(lists.file_size);
    const base::Status read = result->read(section, lists.vocab);
    if (!read) return read.error();
    const auto unknown_id = result->vocabulary_.find(*unknown);
    if (!unknown_id) {
      return section.error("unk_token", files::in_quotes(*unknown) + " is not in model.vocab");
    }
    result->unknown_id_ = *unknown_id;
    result->chars_max_ = *chars_max;
    result->continuing_ = result->vocabulary_.node(*prefix);
    return std::unique_ptr<Algorithm>(std::move(result));
  }

  void encode(std::string_view word, std::size_t /*ids_max*/,
              std::vector<std::uint32_t>& ids) const override {
    if (is_too_long(word)) {
      ids.push_back(unknown_id_);
      return;
    }
    const std::size_t ids_before = ids.size();
    std::uint32_t start = Vocabulary::kRoot;
    Vocabulary::Match match;
    for (std::size_t offset = 0; offset < word.size(); offset = match.end) {
      // kNone: no piece carries the prefix, so nothing can continue a word.
      if (start == Vocabulary::kNone || !vocabulary_.longest(start, word, offset, match)) {
        ids.resize(ids_before);
        ids.push_back(unknown_id_);
        return;
      }
      ids.push_back(match.id);
      start = continuing_;
    }
  }

  [[nodiscard]] std::optional<std::uint32_t> id_of(std::string_view piece) const override {
    return vocabulary_.find(piece);
  }
  [[nodiscard]] std::optional<std::string_view> piece_of(std::uint32_t id) const override {
    return pieces_.piece(id);
  }
  [[nodiscard]] std::size_t id_limit() const override { return pieces_.id_limit(); }

 private:
  base::Status read(const Section& section, Listing& vocab) {
    const base::Status status = read_vocabulary(section, vocab, pieces_);
    if (!status) return status;
    pieces_.each([&](std::uint32_t id, std::string_view piece) { vocabulary_.add(piece, id); });
    if (vocabulary_.is_full()) {
      return section.error("vocab", "has too many distinct beginnings of pieces; the limit is " +
                                        std::to_string(vocabulary_.edges_max()));
    }
    return base::ok();
  }

  [[nodiscard]] bool is_too_long(std::string_view word) const {
    if (word.size() <= chars_max_) return false;  // a character has at least one byte
    std::size_t count = 0;
    for (const char byte : word) {
      if (!is_continuation(byte) && ++count > chars_max_) return true;
    }
    return false;
  }

  Pieces pieces_;
  Vocabulary vocabulary_;
  std::uint32_t continuing_ = Vocabulary::kNone;  // the node behind the prefix
  std::uint32_t unknown_id_ = 0;
  std::uint32_t chars_max_ = 0;
};

}  // namespace

base::Result<std::unique_ptr<Algorithm>> make_wordpiece(const Section& section, ModelLists& lists) {
  return WordPiece::make(section, lists);
}

}  // namespace nacelle::tokenizer
