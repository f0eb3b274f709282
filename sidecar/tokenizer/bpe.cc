// Byte-pair encoding: a word's characters, or bytes, merged pair by pair. Characters that are no
// pieces become pieces for their bytes ("<0xEA>"), or the unknown token, or nothing.
//
// With words of bytes (GPT-2's byte level) the pieces' letters are turned back into the bytes that
// they stand for, once, so that no word is spelled in letters.
#include <array>

#include "sidecar/tokenizer/byte_level.h"
#include "sidecar/tokenizer/component.h"
#include "sidecar/tokenizer/merges.h"
#include "sidecar/tokenizer/pieces.h"
#include "sidecar/tokenizer/utf8.h"
#include "sidecar/tokenizer/word_cache.h"

namespace nacelle::tokenizer {
namespace {

constexpr std::uint32_t kNone = UINT32_MAX;
constexpr std::size_t kAffixSizeMax = 64;  // bytes of a prefix or suffix
// SentencePiece's mark for a space.
constexpr char32_t kSpaceMark = 0x2581;
constexpr std::string_view kSpaceMarkText = "\xE2\x96\x81";

class Bpe final : public Algorithm {
 public:
  static AlgorithmResult make(const Section& section, ModelLists& lists, bool bytes) {
    auto result = std::make_unique<Bpe>();
    result->bytes_ = bytes;
    for (const base::Status& status :
         {section.only({"type", "dropout", "unk_token", "continuing_subword_prefix",
                        "end_of_word_suffix", "fuse_unk", "byte_fallback", "ignore_merges", "vocab",
                        "merges"}),
          result->read_options(section), read_vocabulary(section, lists.vocab, result->pieces_),
          result->read_pieces(section), result->read_merges(section, lists.merges)}) {
      if (!status) return status.error();
    }
    return std::unique_ptr<Algorithm>(std::move(result));
  }

  void encode(std::string_view word, std::size_t ids_max,
              std::vector<std::uint32_t>& ids) const override {
    if (ignore_merges_) {
      if (const auto id = encoded().find(word)) {
        ids.push_back(*id);
        return;
      }
    }
    if (!cuts_at_marks_) {
      encode_part(word, ids);
      return;
    }
    // No merge joins a space mark to something before it: what stands before and behind is apart.
    while (!word.empty() && ids.size() <= ids_max) {
      std::size_t end = 0;
      while (word.substr(end).starts_with(kSpaceMarkText)) end += kSpaceMarkText.size();
      end = std::min(word.find(kSpaceMarkText, end), word.size());
      encode_part(word.substr(0, end), ids);
      word.remove_prefix(end);
    }
  }

  [[nodiscard]] std::optional<std::uint32_t> id_of(std::string_view piece) const override {
    return pieces_.find(piece);
  }
  [[nodiscard]] std::optional<std::string_view> piece_of(std::uint32_t id) const override {
    return pieces_.piece(id);
  }
  [[nodiscard]] std::size_t id_limit() const override { return pieces_.id_limit(); }

 private:
  base::Status read_options(const Section& section) {
    if (section.has("dropout") && section.json().at("dropout") != 0.0) {
      return section.error("dropout", "must be null or 0: it is for training");
    }
    for (const auto& [name, out] : {std::pair{"continuing_subword_prefix", &prefix_},
                                    std::pair{"end_of_word_suffix", &suffix_}}) {
      if (!section.has(name)) continue;
      auto value = section.text(name);
      if (!value) return value.error();
      if (value->size() > kAffixSizeMax) {
        return section.error(name, "is longer than " + std::to_string(kAffixSizeMax) + " bytes");
      }
      *out = std::move(*value);
    }
    for (const auto& [name, out] :
         {std::pair{"fuse_unk", &fuse_unknown_}, std::pair{"byte_fallback", &byte_fallback_},
          std::pair{"ignore_merges", &ignore_merges_}}) {
      const auto value = section.boolean_or(name, false);
      if (!value) return value.error();
      *out = *value;
    }
    return base::ok();
  }

  // What the pieces are needed for beside their ids.
  base::Status read_pieces(const Section& section) {
    if (bytes_) {
      std::string bytes;
      byte_pieces_.reserve(pieces_.count(), 0);
      pieces_.each([&](std::uint32_t id, std::string_view piece) {
        bytes.clear();
        // A piece of other characters is never met in a text: it can only be an added token.
        if (append_bytes(piece, bytes)) byte_pieces_.add(id, bytes);
      });
    }
    if (section.has("unk_token")) {
      const auto unknown = section.text("unk_token");
      if (!unknown) return unknown.error();
      const auto id = pieces_.find(*unknown);
      if (!id) {
        return section.error("unk_token", files::in_quotes(*unknown) + " is not in model.vocab");
      }
      unknown_ = *id;
    }
    for (unsigned byte = 0; byte < 256; ++byte) {
      char name[8];
      std::snprintf(name, sizeof name, "<0x%02X>", byte);
      if (byte_fallback_) fallback_[byte] = pieces_.find(name).value_or(kNone);
      const char text = static_cast<char>(byte);
      plain_[byte] = encoded().find(std::string_view(&text, 1)).value_or(kNone);
    }
    // Characters of more bytes than one, and what the affixes make of any.
    has_affixes_ = !prefix_.empty() || !suffix_.empty();
    return base::ok();
  }

  base::Status read_merges(const Section& section, Listing& merges) {
    const auto list = section.list("merges", Listing::kElementsMax);
    if (!list) return list.error();
    if (merges.is_cut()) {
      return list->error("has more than " + std::to_string(Listing::kElementsMax) + " merges");
    }
    merges_.reserve(merges.size());
    cuts_at_marks_ = !bytes_ && !has_affixes_ && pieces_.find(kSpaceMarkText).has_value();
    std::string together;
    for (std::size_t i = 0; i < merges.size(); ++i) {
      std::string_view left;
      std::string_view right;
      if (!split_merge(merges[i], left, right)) {
        return section.error("merges", i, "must be two pieces: \"a b\" or [\"a\", \"b\"]");
      }
      const auto left_id = pieces_.find(left);
      const auto right_id = pieces_.find(right);
      if (!left_id || !right_id) {
        return section.error(
            "merges", i,
            "names " + files::in_quotes(left_id ? right : left) + ", which is not in model.vocab");
      }
      if (right.size() < prefix_.size()) {
        return section.error("merges", i, "has a second piece shorter than the prefix");
      }
      together.assign(left);
      together += right.substr(prefix_.size());
      const auto id = pieces_.find(together);
      if (!id) {
        return section.error(
            "merges", i, "makes " + files::in_quotes(together) + ", which is not in model.vocab");
      }
      merges_.add(*left_id, *right_id, {.rank = static_cast<std::uint32_t>(i), .id = *id});
      if (cuts_at_marks_ && holds_mark_behind_other(together)) cuts_at_marks_ = false;
    }
    merges.clear();
    return base::ok();
  }

  static bool split_merge(const Listing::Element& merge, std::string_view& left,
                          std::string_view& right) {
    left = merge.first;
    right = merge.second;
    if (merge.kind != Listing::Kind::kText) return merge.kind == Listing::Kind::kPair;
    const std::size_t space = left.find(' ');
    if (space == std::string_view::npos) return false;
    right = left.substr(space + 1);
    left = left.substr(0, space);
    return right.find(' ') == std::string_view::npos;
  }

  // Whether a space mark stands behind another character.
  static bool holds_mark_behind_other(std::string_view piece) {
    bool other = false;
    for (std::size_t offset = 0; offset < piece.size();) {
      const bool mark = decode(piece, offset) == kSpaceMark;
      if (mark && other) return true;
      other = other || !mark;
    }
    return false;
  }

  // What words are made of.
  [[nodiscard]] const Pieces& encoded() const { return bytes_ ? byte_pieces_ : pieces_; }

  void encode_part(std::string_view word, std::vector<std::uint32_t>& ids) const {
    const bool cached = word.size() <= WordCache::kWordSizeMax;
    if (cached && cache_.find(word, ids)) return;
    const std::size_t from = ids.size();
    add_symbols(word, ids);
    merges_.apply(ids, from);
    if (cached) cache_.keep(word, ids, from);
  }

  void add_symbols(std::string_view word, std::vector<std::uint32_t>& ids) const {
    std::uint32_t pending = kNone;  // an unknown token that more characters may be fused with
    std::string name;
    for (std::size_t offset = 0; offset < word.size();) {
      const std::size_t begin = offset;
      if (bytes_) {
        ++offset;
      } else {
        skip(word, offset);
      }
      std::string_view symbol = word.substr(begin, offset - begin);
      std::uint32_t id = kNone;
      if (has_affixes_) {
        name.assign(begin == 0 ? "" : prefix_);
        name += symbol;
        if (offset == word.size()) name += suffix_;
        symbol = name;
      }
      if (symbol.size() == 1) {
        id = plain_[static_cast<unsigned char>(symbol.front())];
      } else {
        id = encoded().find(symbol).value_or(kNone);
      }
      if (id != kNone) {
        if (pending != kNone) ids.push_back(pending);
        pending = kNone;
        ids.push_back(id);
        continue;
      }
      if (byte_fallback_ && add_bytes(symbol, ids)) continue;
      if (unknown_ == kNone) continue;
      if (pending != kNone && !fuse_unknown_) ids.push_back(pending);
      pending = unknown_;
    }
    if (pending != kNone) ids.push_back(pending);
  }

  // The pieces of the symbol's bytes; false when one is missing.
  bool add_bytes(std::string_view symbol, std::vector<std::uint32_t>& ids) const {
    for (const char byte : symbol) {
      if (fallback_[static_cast<unsigned char>(byte)] == kNone) return false;
    }
    for (const char byte : symbol) ids.push_back(fallback_[static_cast<unsigned char>(byte)]);
    return true;
  }

  Pieces pieces_;
  Pieces byte_pieces_;  // with words of bytes: the pieces as bytes
  Merges merges_;
  WordCache cache_;
  std::array<std::uint32_t, 256> plain_{};     // the piece of one byte, or kNone
  std::array<std::uint32_t, 256> fallback_{};  // the piece that names a byte, or kNone
  std::string prefix_;                         // of all symbols of a word but the first
  std::string suffix_;                         // of a word's last symbol
  std::uint32_t unknown_ = kNone;
  bool bytes_ = false;
  bool has_affixes_ = false;
  bool fuse_unknown_ = false;
  bool byte_fallback_ = false;
  bool ignore_merges_ = false;
  bool cuts_at_marks_ = false;
};

}  // namespace

AlgorithmResult make_bpe(const Section& section, ModelLists& lists, bool bytes) {
  return Bpe::make(section, lists, bytes);
}

}  // namespace nacelle::tokenizer
