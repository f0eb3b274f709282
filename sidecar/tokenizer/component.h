// The parts that a tokenizer.json puts together, one kind each:
//
//   text -> Normalizer -> text -> PreTokenizer -> words -> Algorithm -> ids -> PostProcessor -> ids
//
// Each implementation is one file; components.cc lists them. All are read-only after creation and
// used by many threads at once. Text is well-formed UTF-8 everywhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sidecar/base/result.h"
#include "sidecar/tokenizer/section.h"
#include "sidecar/tokenizer/tokenizer.h"

namespace nacelle::tokenizer {

class Normalizer {
 public:
  virtual ~Normalizer() = default;

  // Appends the normal form of `text`. Linear in the text.
  virtual void normalize(std::string_view text, std::string& out) const = 0;

  // The first offset at or after `from` where the text may be cut: what stands before and behind is
  // normalized apart to the same result, and the normal form of what stands behind begins with
  // white space. text.size() when there is none. Lets a long text be normalized no further than
  // needed.
  [[nodiscard]] virtual std::size_t cut(std::string_view text, std::size_t from) const = 0;
};

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;

  // Takes the next word off the front of `rest`; empty when there is none left.
  [[nodiscard]] virtual std::string_view next(std::string_view& rest) const = 0;

  // Whether words never reach across white space, whatever stands around it.
  [[nodiscard]] virtual bool splits_at_white_space() const = 0;
};

class Algorithm {
 public:
  virtual ~Algorithm() = default;

  // Appends the ids of one word.
  virtual void encode(std::string_view word, std::vector<std::uint32_t>& ids) const = 0;

  [[nodiscard]] virtual std::optional<std::uint32_t> id_of(std::string_view piece) const = 0;
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

// From the section of a tokenizer.json; nullptr where the file says null. An unknown type is an
// error that tells the known ones. `id_limit` is the algorithm's, for what refers to ids.
base::Result<std::unique_ptr<Normalizer>> make_normalizer(const Section& root);
base::Result<std::unique_ptr<PreTokenizer>> make_pre_tokenizer(const Section& root);
base::Result<std::unique_ptr<Algorithm>> make_algorithm(const Section& root);
base::Result<std::unique_ptr<PostProcessor>> make_post_processor(const Section& root,
                                                                 std::size_t id_limit);
// The decoder turns ids back into text, which nothing here does yet: its type is checked, no more.
base::Status check_decoder(const Section& root);

// Ids at most: what a vocabulary may hold. Bounds tables that are indexed by id.
inline constexpr std::uint32_t kIdMax = (1U << 24U) - 1;

// The implementations.
base::Result<std::unique_ptr<Normalizer>> make_bert_normalizer(const Section& section);
base::Result<std::unique_ptr<PreTokenizer>> make_bert_pre_tokenizer(const Section& section);
base::Result<std::unique_ptr<Algorithm>> make_wordpiece(const Section& section);
base::Result<std::unique_ptr<PostProcessor>> make_template_processing(const Section& section,
                                                                      std::size_t id_limit);

}  // namespace nacelle::tokenizer
