// Unigram: of all ways to cut a word into pieces, the one whose scores add up to the most.
//
// Kudo, https://arxiv.org/abs/1804.10959. One pass of Viterbi's algorithm over the word's
// characters: each looks at the pieces that begin there, at most kPieceCharsMax of them. A
// character that is no piece costs more than any; neighbouring unknown ones are one token, or the
// pieces of their bytes.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "sidecar/tokenizer/component.h"
#include "sidecar/tokenizer/pieces.h"
#include "sidecar/tokenizer/utf8.h"
#include "sidecar/tokenizer/vocabulary.h"
#include "sidecar/tokenizer/word_cache.h"

namespace nacelle::tokenizer {
namespace {

constexpr double kUnknownPenalty = 10.0;  // below the worst piece
// Characters of a piece: SentencePiece makes them of up to 16. Bounds the work per character.
constexpr std::size_t kPieceCharsMax = 128;
constexpr std::uint32_t kNone = UINT32_MAX;

// A score as the reference library reads it: the digits as one whole number, rounded, then divided
// by a power of ten, and rounded again. That can be one step away from the nearest number, and
// decides between ways whose scores are equal but for rounding. `value` is what the file's text
// stands for; its shortest digits are those of the text, as serializers write it.
double as_reference_reads(double value) {
  char text[32];
  const auto end = std::to_chars(std::begin(text), std::end(text), std::abs(value),
                                 std::chars_format::scientific)
                       .ptr;
  std::uint64_t digits = 0;
  int exponent = 0;
  const char* at = text;
  bool fraction = false;
  for (; at != end && *at != 'e'; ++at) {
    if (*at == '.') {
      fraction = true;
      continue;
    }
    digits = digits * 10 + static_cast<std::uint64_t>(*at - '0');
    if (fraction) --exponent;
  }
  int written = 0;
  if (at != end) std::from_chars(at[1] == '+' ? at + 2 : at + 1, end, written);
  exponent += written;
  auto result = static_cast<double>(digits);
  // Beyond the table of powers the score is as good as none or not finite: leave it.
  if (exponent < -300 || exponent > 300) return value;
  if (exponent < 0) {
    result /= std::pow(10.0, -exponent);
  } else {
    result *= std::pow(10.0, exponent);
  }
  return value < 0 ? -result : result;
}

class Unigram final : public Algorithm {
 public:
  explicit Unigram(std::size_t file_size) : trie_(Vocabulary::slots_max(file_size)) {}

  static AlgorithmResult make(const Section& section, ModelLists& lists) {
    const base::Status keys = section.only({"type", "unk_id", "vocab", "byte_fallback"});
    if (!keys) return keys.error();
    auto result = std::make_unique<Unigram>(lists.file_size);
    const auto byte_fallback = section.boolean_or("byte_fallback", false);
    if (!byte_fallback) return byte_fallback.error();
    const base::Status read = result->read_pieces(section, lists.vocab);
    if (!read) return read.error();
    const auto unknown = section.number("unk_id", kIdMax);
    if (!unknown) return unknown.error();
    if (*unknown >= result->pieces_.count()) {
      return section.error("unk_id", "is " + std::to_string(*unknown) + ", but model.vocab has " +
                                         std::to_string(result->pieces_.count()) + " pieces");
    }
    result->unknown_ = *unknown;
    result->byte_fallback_ = *byte_fallback;
    for (unsigned byte = 0; byte < 256; ++byte) {
      char name[8];
      std::snprintf(name, sizeof name, "<0x%02X>", byte);
      result->fallback_[byte] = result->pieces_.find(name).value_or(kNone);
    }
    return std::unique_ptr<Algorithm>(std::move(result));
  }

  void encode(std::string_view word, std::size_t /*ids_max*/,
              std::vector<std::uint32_t>& ids) const override {
    const bool cached = word.size() <= WordCache::kWordSizeMax;
    if (cached && cache_.find(word, ids)) return;
    const std::size_t from = ids.size();
    if (word.size() < kSmall) {
      // The usual word: no memory is asked for.
      std::array<Node, kSmall + 1> nodes;
      find_best(word, nodes.data(), ids);
    } else {
      std::vector<Node> nodes(word.size() + 1);
      find_best(word, nodes.data(), ids);
    }
    if (cached) cache_.keep(word, ids, from);
  }

  [[nodiscard]] std::optional<std::uint32_t> id_of(std::string_view piece) const override {
    return pieces_.find(piece);
  }
  [[nodiscard]] std::optional<std::string_view> piece_of(std::uint32_t id) const override {
    return pieces_.piece(id);
  }
  [[nodiscard]] std::size_t id_limit() const override { return pieces_.id_limit(); }

 private:
  static constexpr std::size_t kSmall = 256;  // bytes of a word

  // The best way to reach a place in the word: the last piece on it.
  struct Node {
    double score = 0;
    std::uint32_t begin = kNone;  // where the piece begins; kNone: not reached yet
    std::uint32_t id = 0;
  };

  base::Status read_pieces(const Section& section, Listing& vocab) {
    const auto list = section.list("vocab", kIdMax);
    if (!list) return list.error();
    if (vocab.is_cut()) {
      return list->error("has more than " + std::to_string(Listing::kElementsMax) + " pieces");
    }
    scores_.reserve(vocab.size());
    pieces_.reserve(vocab.size(), vocab.text_size());
    double least = 0;
    for (std::size_t i = 0; i < vocab.size(); ++i) {
      const Listing::Element entry = vocab[i];
      if (entry.kind != Listing::Kind::kScored || !std::isfinite(entry.number)) {
        return section.error("vocab", i, "must be a piece and its finite score: [\"piece\", -1.5]");
      }
      const std::string_view piece = entry.first;
      if (static_cast<std::size_t>(std::count_if(piece.begin(), piece.end(), [](char c) {
            return !is_continuation(c);
          })) > kPieceCharsMax) {
        return section.error("vocab", i,
                             "is longer than " + std::to_string(kPieceCharsMax) + " characters");
      }
      pieces_.add(static_cast<std::uint32_t>(i), piece);
      scores_.push_back(as_reference_reads(entry.number));
      least = i == 0 ? scores_[0] : std::min(least, scores_.back());
    }
    unknown_score_ = least - kUnknownPenalty;
    vocab.clear();
    // Of pieces with the same text the last one counts.
    for (std::size_t i = pieces_.count(); i-- > 0;) {
      const auto id = static_cast<std::uint32_t>(i);
      trie_.add(*pieces_.piece(id), id);
    }
    if (trie_.is_full()) {
      return list->error("has too many distinct beginnings of pieces; the limit is " +
                         std::to_string(trie_.edges_max()));
    }
    return base::ok();
  }

  // Fills nodes[0, word.size()], by byte, and appends the ids of the best way to the end.
  void find_best(std::string_view word, Node* nodes, std::vector<std::uint32_t>& ids) const {
    for (std::size_t begin = 0; begin < word.size();) {
      const double score = nodes[begin].score;
      const auto reach = [&](std::size_t end, double piece_score, std::uint32_t id) {
        Node& node = nodes[end];
        const double its_score = piece_score + score;
        if (node.begin != kNone && its_score <= node.score) return;
        node = {.score = its_score, .begin = static_cast<std::uint32_t>(begin), .id = id};
      };
      std::size_t after_first = 0;
      bool first_is_piece = false;
      std::uint32_t trie_node = Vocabulary::kRoot;
      for (std::size_t end = begin; end < word.size();) {
        std::uint32_t id = Vocabulary::kNone;
        trie_node = trie_.step(trie_node, decode(word, end), id);
        if (after_first == 0) {
          after_first = end;
          first_is_piece = id != Vocabulary::kNone;
        }
        if (trie_node == Vocabulary::kNone) break;
        if (id != Vocabulary::kNone) reach(end, scores_[id], id);
      }
      if (!first_is_piece) reach(after_first, unknown_score_, unknown_);
      begin = after_first;
    }
    // Backwards, neighbouring unknown ones as one.
    const std::size_t from = ids.size();
    for (std::size_t end = word.size(); end > 0;) {
      std::size_t begin = nodes[end].begin;
      if (nodes[end].id != unknown_) {
        ids.push_back(nodes[end].id);
        end = begin;
        continue;
      }
      while (begin > 0 && nodes[begin].id == unknown_) begin = nodes[begin].begin;
      add_unknown(word.substr(begin, end - begin), ids);
      end = begin;
    }
    std::reverse(ids.begin() + static_cast<std::ptrdiff_t>(from), ids.end());
  }

  // The ids of unknown text, the last one first.
  void add_unknown(std::string_view text, std::vector<std::uint32_t>& ids) const {
    if (const auto id = pieces_.find(text)) {
      ids.push_back(*id);
      return;
    }
    const bool as_bytes = byte_fallback_ && std::all_of(text.begin(), text.end(), [&](char byte) {
                            return fallback_[static_cast<unsigned char>(byte)] != kNone;
                          });
    if (!as_bytes) {
      ids.push_back(unknown_);
      return;
    }
    for (std::size_t i = text.size(); i-- > 0;) {
      ids.push_back(fallback_[static_cast<unsigned char>(text[i])]);
    }
  }

  Pieces pieces_;
  Vocabulary trie_;
  std::vector<double> scores_;                 // by id
  std::array<std::uint32_t, 256> fallback_{};  // the piece that names a byte, or kNone
  WordCache cache_;
  double unknown_score_ = 0;
  std::uint32_t unknown_ = 0;
  bool byte_fallback_ = false;
};

}  // namespace

AlgorithmResult make_unigram(const Section& section, ModelLists& lists) {
  return Unigram::make(section, lists);
}

}  // namespace nacelle::tokenizer
