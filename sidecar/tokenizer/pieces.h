// The pieces of a vocabulary by id and by text, in one block of memory.
//
// Cost: the bytes of the pieces, 12 bytes for each, and 8 to 16 for finding it by its text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sidecar/base/result.h"
#include "sidecar/tokenizer/listing.h"
#include "sidecar/tokenizer/section.h"

namespace nacelle::tokenizer {

class Pieces {
 public:
  // Room for that many pieces and bytes of text.
  void reserve(std::size_t count, std::size_t size);

  // Pieces come with rising ids, see read_vocabulary. False when there is one with the same text
  // already: find() gives the later one.
  bool add(std::uint32_t id, std::string_view piece);

  [[nodiscard]] std::optional<std::uint32_t> find(std::string_view piece) const;
  [[nodiscard]] std::optional<std::string_view> piece(std::uint32_t id) const;

  [[nodiscard]] std::size_t count() const { return entries_.size(); }
  [[nodiscard]] std::size_t id_limit() const {
    return entries_.empty() ? 0 : std::size_t{entries_.back().id} + 1;
  }

  // Calls visit(id, piece) for each, by rising ids.
  template <typename Visit>
  void each(const Visit& visit) const {
    for (const Entry& entry : entries_) visit(entry.id, text_of(entry));
  }

 private:
  struct Entry {
    std::uint32_t id;
    std::uint32_t begin;
    std::uint32_t size;
  };
  static constexpr std::uint32_t kFree = UINT32_MAX;

  [[nodiscard]] std::string_view text_of(const Entry& entry) const {
    return std::string_view(bytes_).substr(entry.begin, entry.size);
  }
  [[nodiscard]] std::size_t slot(std::string_view piece) const;
  void make_table(std::size_t size);

  std::string bytes_;                 // all pieces, end to end; files are smaller than 4 GiB
  std::vector<Entry> entries_;        // by rising ids
  std::vector<std::uint32_t> table_;  // indices of entries by the hash of the text, or kFree
};

// The field "vocab" of a model, an object of pieces and their ids: both are unique, ids are at most
// kIdMax, no piece is empty. Empties `vocab`.
base::Status read_vocabulary(const Section& model, Listing& vocab, Pieces& pieces);

}  // namespace nacelle::tokenizer
