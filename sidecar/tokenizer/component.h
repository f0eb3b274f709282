// The parts that a tokenizer.json puts together, one kind each:
//
//   text -> Normalizer -> text -> PreTokenizer... -> words -> Algorithm -> ids -> PostProcessor
//   ids -> pieces -> Decoder... -> text
//
// Each implementation is one file; components.cc lists them. All are read-only after creation and
// used by many threads at once. Text is well-formed UTF-8 everywhere, but for words of bytes
// (PreTokenizer::give_bytes).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sidecar/base/result.h"
#include "sidecar/tokenizer/listing.h"
#include "sidecar/tokenizer/section.h"
#include "sidecar/tokenizer/tokenizer.h"

namespace nacelle::tokenizer {

class Normalizer {
 public:
  virtual ~Normalizer() = default;

  // Appends the normal form of `text`. Linear in the text. False when it grows beyond
  // normal_size_max(text) or when a pattern of the file takes too many steps.
  [[nodiscard]] virtual bool normalize(std::string_view text, std::string& out) const = 0;

  // The first offset at or after `from` where the text may be cut: what stands before and behind is
  // normalized apart to the same result, and the normal form of what stands behind begins with
  // white space. text.size() when there is none. Lets a long text be normalized no further than
  // needed.
  [[nodiscard]] virtual std::size_t cut(std::string_view text, std::size_t /*from*/) const {
    return text.size();
  }
};

// Bytes that a normalizer may make of a text. The longest expansion of Unicode is eleven times.
[[nodiscard]] constexpr std::size_t normal_size_max(std::string_view text) {
  constexpr std::size_t kAlways = 64U << 20U;
  const std::size_t wanted = 4096 + 32 * text.size();
  return wanted < kAlways ? wanted : kAlways;
}

// One piece of text on its way through one pre-tokenizer.
struct Cursor {
  std::string_view text;     // the piece, or `own`
  std::size_t offset = 0;    // what stands before has been given out
  bool begins_text = false;  // the piece starts where the whole text does
  bool failed = false;       // a pattern took too many steps: there is no next word

  std::string own;   // the piece rewritten
  std::string word;  // the latest word rewritten

  // Where a split by a pattern (split.h) stands.
  struct Stretch {
    std::size_t begin = 0;
    std::size_t end = 0;
    bool is_match = false;
  };
  std::size_t search_from = 0;
  std::size_t last_match_end = SIZE_MAX;
  std::optional<Stretch> match;  // found, and to be given out behind the stretch before it
  std::optional<Stretch> ahead;  // looked at too early
  bool searched = false;         // there are no more matches

  void reset(std::string_view piece, bool at_start) {
    text = piece;
    offset = 0;
    begins_text = at_start;
    failed = false;
    search_from = 0;
    last_match_end = SIZE_MAX;
    match.reset();
    ahead.reset();
    searched = false;
  }
};

// Splits a piece of text into words. Several work one behind the other, each on the words of the
// one before.
class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;

  // Looks at a piece before its first word is taken; may rewrite it.
  virtual void start(Cursor& /*cursor*/) const {}

  // The next word, which lives until the cursor moves on; empty when there is none left.
  [[nodiscard]] virtual std::string_view next(Cursor& cursor) const = 0;

  // Whether words never reach across white space, whatever stands around it.
  [[nodiscard]] virtual bool splits_at_white_space() const { return false; }

  // Whether Cursor::begins_text matters.
  [[nodiscard]] virtual bool asks_for_start() const { return false; }

  // Makes words of plain bytes instead of the letters that stand for them; false when this one
  // makes no such letters.
  virtual bool give_bytes() { return false; }
};

class Algorithm {
 public:
  virtual ~Algorithm() = default;

  // Appends the ids of one word. May stop early once there are more than `ids_max` ids in all.
  virtual void encode(std::string_view word, std::size_t ids_max,
                      std::vector<std::uint32_t>& ids) const = 0;

  [[nodiscard]] virtual std::optional<std::uint32_t> id_of(std::string_view piece) const = 0;
  [[nodiscard]] virtual std::optional<std::string_view> piece_of(std::uint32_t id) const = 0;
  [[nodiscard]] virtual std::size_t id_limit() const = 0;  // the largest id + 1
};

class PostProcessor {
 public:
  virtual ~PostProcessor() = default;

  // How many ids apply() and apply_pair() add.
  [[nodiscard]] virtual std::size_t added() const = 0;
  [[nodiscard]] virtual std::size_t added_to_pair() const = 0;

  // The ids of one text, or of two, with the special tokens around them and the type of each.
  virtual void apply(std::vector<std::uint32_t> ids, Encoding& out) const = 0;
  virtual void apply_pair(std::vector<std::uint32_t> first, std::vector<std::uint32_t> second,
                          Encoding& out) const = 0;
};

// Turns pieces back into text, step by step: the text is what is left, one piece behind the other.
class Decoder {
 public:
  virtual ~Decoder() = default;

  // False when a pattern of the file takes too many steps.
  [[nodiscard]] virtual bool decode(std::vector<std::string>& pieces) const = 0;
};

using PreTokenizers = std::vector<std::unique_ptr<PreTokenizer>>;
using Decoders = std::vector<std::unique_ptr<Decoder>>;

// From the section of a tokenizer.json; nullptr or nothing where the file says null, or where the
// part changes no id. Sequences are laid out flat. An unknown type is an error that tells the known
// ones.
base::Result<std::unique_ptr<Normalizer>> make_normalizer(const Section& root);
base::Result<PreTokenizers> make_pre_tokenizers(const Section& root);
base::Result<Decoders> make_decoders(const Section& root);
// `lists` is emptied. `bytes`: words will be plain bytes. Only where takes_bytes() says that the
// model can.
base::Result<std::unique_ptr<Algorithm>> make_algorithm(const Section& root, ModelLists& lists,
                                                        bool bytes);
bool takes_bytes(const Section& root);
// `id_limit` is the algorithm's, for what refers to ids.
base::Result<std::unique_ptr<PostProcessor>> make_post_processor(const Section& root,
                                                                 std::size_t id_limit);

// Ids at most: what a vocabulary may hold. Bounds tables that are indexed by id.
inline constexpr std::uint32_t kIdMax = (1U << 24U) - 1;
// Parts of a sequence at most, and bytes of a text that a part replaces or inserts.
inline constexpr std::size_t kPartsMax = 32;
inline constexpr std::size_t kInsertSizeMax = 512;

// The implementations.
using NormalizerResult = base::Result<std::unique_ptr<Normalizer>>;
NormalizerResult make_bert_normalizer(const Section& section);
NormalizerResult make_byte_level_normalizer(const Section& section);
NormalizerResult make_lowercase(const Section& section);
NormalizerResult make_nfc(const Section& section);
NormalizerResult make_nfd(const Section& section);
NormalizerResult make_nfkc(const Section& section);
NormalizerResult make_nfkd(const Section& section);
NormalizerResult make_nmt(const Section& section);
NormalizerResult make_precompiled(const Section& section);
NormalizerResult make_prepend(const Section& section);
NormalizerResult make_replace(const Section& section);
NormalizerResult make_strip(const Section& section);
NormalizerResult make_strip_accents(const Section& section);

using PreTokenizerResult = base::Result<std::unique_ptr<PreTokenizer>>;
PreTokenizerResult make_bert_pre_tokenizer(const Section& section);
PreTokenizerResult make_byte_level(const Section& section);
PreTokenizerResult make_delimiter(const Section& section);
PreTokenizerResult make_digits(const Section& section);
PreTokenizerResult make_metaspace(const Section& section);
PreTokenizerResult make_punctuation(const Section& section);
PreTokenizerResult make_split(const Section& section);
PreTokenizerResult make_whitespace(const Section& section);
PreTokenizerResult make_whitespace_split(const Section& section);

using AlgorithmResult = base::Result<std::unique_ptr<Algorithm>>;
AlgorithmResult make_bpe(const Section& section, ModelLists& lists, bool bytes);
AlgorithmResult make_unigram(const Section& section, ModelLists& lists);
AlgorithmResult make_wordpiece(const Section& section, ModelLists& lists);

using PostProcessorResult = base::Result<std::unique_ptr<PostProcessor>>;
PostProcessorResult make_bert_processing(const Section& section, std::size_t id_limit);
PostProcessorResult make_roberta_processing(const Section& section, std::size_t id_limit);
PostProcessorResult make_template_processing(const Section& section, std::size_t id_limit);

using DecoderResult = base::Result<std::unique_ptr<Decoder>>;
DecoderResult make_bpe_decoder(const Section& section);
DecoderResult make_byte_fallback_decoder(const Section& section);
DecoderResult make_byte_level_decoder(const Section& section);
DecoderResult make_ctc_decoder(const Section& section);
DecoderResult make_fuse_decoder(const Section& section);
DecoderResult make_metaspace_decoder(const Section& section);
DecoderResult make_replace_decoder(const Section& section);
DecoderResult make_strip_decoder(const Section& section);
DecoderResult make_wordpiece_decoder(const Section& section);

}  // namespace nacelle::tokenizer
