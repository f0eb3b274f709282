// WordPiece: a word is cut from the left into the longest pieces of the vocabulary, all but the
// first marked by a prefix ("##"). A word that cannot be cut whole, or is too long, is one unknown
// token.
//
// Google's BERT: https://github.com/google-research/bert (tokenization). One walk of the trie per
// piece; a word has at most `max_input_chars_per_word` characters.
#include "sidecar/tokenizer/component.h"
#include "sidecar/tokenizer/utf8.h"
#include "sidecar/tokenizer/vocabulary.h"

namespace nacelle::tokenizer {
namespace {

// The longest word that a file may ask for. BERT's is 100. Bounds the work per character: the
// pieces tried at one place are no longer than the word.
constexpr std::uint32_t kWordCharsMax = 1000;

class WordPiece final : public Algorithm {
 public:
  static base::Result<std::unique_ptr<Algorithm>> make(const Section& section) {
    const base::Status keys = section.only(
        {"type", "unk_token", "continuing_subword_prefix", "max_input_chars_per_word", "vocab"});
    if (!keys) return keys.error();
    const auto unknown = section.text("unk_token");
    if (!unknown) return unknown.error();
    const auto prefix = section.text("continuing_subword_prefix");
    if (!prefix) return prefix.error();
    const auto chars_max = section.number("max_input_chars_per_word", kWordCharsMax);
    if (!chars_max) return chars_max.error();

    auto result = std::make_unique<WordPiece>();
    const base::Status read = result->read_vocabulary(section);
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

  void encode(std::string_view word, std::vector<std::uint32_t>& ids) const override {
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
  [[nodiscard]] std::size_t id_limit() const override { return id_limit_; }

 private:
  base::Status read_vocabulary(const Section& section) {
    const auto vocabulary = section.object("vocab");
    if (!vocabulary) return vocabulary.error();
    // Which ids are taken, grown to the largest seen; at most kIdMax + 1 bits.
    std::vector<bool> taken;
    for (const auto& [piece, value] : vocabulary->json().items()) {
      const std::string name = files::in_quotes(piece);
      if (piece.empty()) return vocabulary->error("holds an empty piece");
      if (!value.is_number_unsigned() || value.get<std::uint64_t>() > kIdMax) {
        return vocabulary->error("the id of " + name + " is not a whole number from 0 to " +
                                 std::to_string(kIdMax));
      }
      const auto id = static_cast<std::uint32_t>(value.get<std::uint64_t>());
      if (id >= taken.size()) taken.resize(std::size_t{id} + 1);
      if (taken[id]) {
        return vocabulary->error("two pieces have the id " + std::to_string(id) + "; one is " +
                                 name);
      }
      taken[id] = true;
      // Keys are unique already, so only the size can be the reason.
      if (!vocabulary_.add(piece, id)) {
        return vocabulary->error("has more than " + std::to_string(Vocabulary::kNodesMax) +
                                 " distinct beginnings of pieces");
      }
    }
    id_limit_ = taken.size();
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

  Vocabulary vocabulary_;
  std::uint32_t continuing_ = Vocabulary::kNone;  // the node behind the prefix
  std::uint32_t unknown_id_ = 0;
  std::uint32_t chars_max_ = 0;
  std::size_t id_limit_ = 0;
};

}  // namespace

base::Result<std::unique_ptr<Algorithm>> make_wordpiece(const Section& section) {
  return WordPiece::make(section);
}

}  // namespace nacelle::tokenizer
