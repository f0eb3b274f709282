// Text to token ids, exactly as Hugging Face's tokenizers does it for the same tokenizer.json.
//
//   normalizer -> pre-tokenizer -> model (WordPiece, Unigram, BPE) -> truncation -> post-processor
//
// A tokenizer is read-only after load: any number of threads may call encode.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sidecar/base/result.h"

namespace nacelle::tokenizer {

struct Encoding {
  std::vector<std::uint32_t> ids;    // special tokens included
  std::vector<std::uint32_t> types;  // [ids.size()]  the template's type ids
  bool truncated = false;            // the text, or the two, had more tokens than fit
};

class Tokenizer {
 public:
  // From a tokenizer.json of at most 64 MiB; loading takes at most 64 MiB of memory and 4 bytes for
  // each of the file. Errors name the file and the component ("normalizer: unknown type
  // \"Foo\"; this version knows BertNormalizer"). Padding and truncation in the file are ignored:
  // the server packs without padding and truncates to the model's limit.
  static base::Result<std::unique_ptr<Tokenizer>> load(const std::string& path);
  // The same from the text of one; errors name it `what`.
  static base::Result<std::unique_ptr<Tokenizer>> parse(std::string_view json,
                                                        const std::string& what);
  virtual ~Tokenizer() = default;

  // Ids for one text of UTF-8, special tokens included, at most `tokens_max` in all. Takes time
  // linear in the text at worst, and stops early once `tokens_max` is reached. Text that is not
  // UTF-8 is kInvalid with the offset of the first bad byte.
  [[nodiscard]] virtual base::Result<Encoding> encode(std::string_view text,
                                                      std::size_t tokens_max) const = 0;
  // Ids for two texts in one sequence, e.g. a question and a passage, with the special tokens and
  // type ids that the file gives pairs, at most `tokens_max` in all. What does not fit is cut from
  // the end of the longer text until both are equally long, then from both, so that the longer one
  // keeps the odd token: "longest_first" of Hugging Face.
  [[nodiscard]] virtual base::Result<Encoding> encode_pair(std::string_view first,
                                                           std::string_view second,
                                                           std::size_t tokens_max) const = 0;
  // Ids for one text without special tokens and without a limit: what cutting a long text into
  // parts starts from.
  [[nodiscard]] virtual base::Result<Encoding> encode_plain(std::string_view text) const = 0;

  // The text that ids stand for; `skip_special` leaves special tokens out. Ids that are not in the
  // vocabulary are left out, too.
  [[nodiscard]] virtual base::Result<std::string> decode(std::span<const std::uint32_t> ids,
                                                         bool skip_special) const = 0;

  [[nodiscard]] virtual std::size_t vocabulary_size() const = 0;  // the largest id + 1
  // How many special tokens are added to one text, and to a pair of texts.
  [[nodiscard]] virtual std::size_t special_tokens() const = 0;
  [[nodiscard]] virtual std::size_t special_tokens_of_pair() const = 0;
};

}  // namespace nacelle::tokenizer
