// Added tokens: texts such as "[SEP]" that are one token wherever they stand, found before (or,
// when they are "normalized", after) the normalizer has seen the text.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "sidecar/base/result.h"
#include "sidecar/tokenizer/component.h"
#include "sidecar/tokenizer/section.h"
#include "sidecar/tokenizer/vocabulary.h"

namespace nacelle::tokenizer {

inline constexpr std::size_t kAddedTokensMax = 32'768;
// Bytes of the normal forms of all of them.
inline constexpr std::size_t kAddedSizeMax = 4U << 20U;
// Bytes of one added token. Bounds the work per character of text.
inline constexpr std::size_t kAddedTokenSizeMax = 512;

// One entry of tokenizer.json's added_tokens.
struct AddedToken {
  std::string content;
  std::uint32_t id = 0;
  bool single_word = false;  // only where no word character touches it
  bool lstrip = false;       // takes the white space before it along
  bool rstrip = false;       // and behind it
  bool special = false;      // is left out of decoded text on request
  bool normalized = false;   // is looked for in the normalized text, in its own normal form
};

// The whole list, checked: contents and ids are unique, and a content that the algorithm knows has
// the algorithm's id.
base::Result<std::vector<AddedToken>> read_added_tokens(const Section& root,
                                                        const Algorithm& algorithm);

// Finds tokens in a text: leftmost first, and the longest of those that start there.
class AddedTokenFinder {
 public:
  // False when two tokens have the same content, or all together have too much text.
  bool add(const AddedToken& token);

  [[nodiscard]] bool is_full() const { return contents_.is_full(); }
  [[nodiscard]] bool empty() const { return tokens_.empty(); }

  // A token found, with the white space that it takes along.
  struct Found {
    std::size_t begin = 0;
    std::size_t end = 0;
    std::uint32_t id = 0;
  };

  // Walks one text from left to right.
  class Walk {
   public:
    Walk(const AddedTokenFinder& finder, std::string_view text) : finder_(finder), text_(text) {}
    // The next token; false when there is none. Tokens do not overlap.
    bool next(Found& found);

   private:
    const AddedTokenFinder& finder_;
    std::string_view text_;
    std::size_t search_from_ = 0;  // behind the last match, without the white space it took
    std::size_t taken_ = 0;        // behind the last token, with it
  };

 private:
  static constexpr std::size_t kSlotsMax = 1U << 19U;  // 8 MiB

  std::vector<AddedToken> tokens_;  // without their contents
  Vocabulary contents_{kSlotsMax};  // content -> index in tokens_
  std::array<bool, 256> starts_{};  // bytes that a content begins with
};

}  // namespace nacelle::tokenizer
