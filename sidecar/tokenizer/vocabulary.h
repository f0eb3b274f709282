// The pieces of a model and their ids: a trie over code points, for exact lookup and for the
// longest piece that a text starts with.
//
// The trie's edges stand in one open-addressing hash table keyed by (node, code point), so a step
// is one probe, and a walk ends as soon as no piece goes on: finding the longest piece costs as
// many steps as that piece has characters, never the square of the word.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace nacelle::tokenizer {

class Vocabulary {
 public:
  // Slots at most, 16 bytes each. Those of a model: the trie of XLM-R needs one million, larger
  // ones come in larger files.
  static constexpr std::size_t kSlotsMax = 2U << 20U;
  static std::size_t slots_max(std::size_t file_size) {
    constexpr std::size_t kLarge = 24U << 20U;  // bytes
    return file_size < kLarge ? kSlotsMax : 2 * kSlotsMax;
  }
  static constexpr std::uint32_t kNone = UINT32_MAX;
  static constexpr std::uint32_t kRoot = 0;

  // `slots_max` is a power of two.
  explicit Vocabulary(std::size_t slots_max = kSlotsMax);

  // False when the piece is there already or the trie is full. `piece` is well-formed UTF-8.
  bool add(std::string_view piece, std::uint32_t id);

  [[nodiscard]] std::optional<std::uint32_t> find(std::string_view piece) const;

  // The node that `text` leads to from the root: where pieces that start with `text` go on. kNone
  // when no piece does.
  [[nodiscard]] std::uint32_t node(std::string_view text) const;

  // The longest piece that starts at `offset` of `text` when its first characters have led to
  // `node`; false when there is none of at least one more character.
  struct Match {
    std::uint32_t id = 0;
    std::size_t end = 0;  // offset in `text` behind the piece
  };
  [[nodiscard]] bool longest(std::uint32_t node, std::string_view text, std::size_t offset,
                             Match& match) const;

  // The node that one more character leads to, kNone when no piece goes on so. `id` becomes that of
  // the piece that ends there, or kNone.
  [[nodiscard]] std::uint32_t step(std::uint32_t node, char32_t code_point,
                                   std::uint32_t& id) const {
    const Edge& edge = table_[slot(node, code_point)];
    id = kNone;
    if (edge.key == kFree) return kNone;
    id = edge.id;
    return edge.child;
  }

  // Edges that fit: half as many as slots, until there are no more slots to come.
  [[nodiscard]] std::size_t edges_max() const { return slots_max_ / 8 * 7; }
  [[nodiscard]] bool is_full() const { return edges_ == edges_max(); }
  [[nodiscard]] std::size_t piece_count() const { return pieces_; }
  [[nodiscard]] std::size_t node_count() const { return edges_ + 1; }

 private:
  struct Edge {
    std::uint64_t key = kFree;  // node << 21 | code point
    std::uint32_t child = 0;
    std::uint32_t id = kNone;  // of the piece that ends at `child`
  };
  static constexpr std::uint64_t kFree = UINT64_MAX;

  // The slot of the edge, or the free one where it belongs.
  [[nodiscard]] std::size_t slot(std::uint32_t node, char32_t code_point) const;
  void grow();

  std::size_t slots_max_;
  std::vector<Edge> table_;  // a power of two; half full at most, at slots_max_ edges_max()
  std::size_t edges_ = 0;
  std::size_t pieces_ = 0;
};

}  // namespace nacelle::tokenizer
