// The merges of byte-pair encoding: which two neighbours become one, and which pair goes first.
//
// Sennrich et al., https://arxiv.org/abs/1508.07909: again and again the pair of lowest rank is
// merged, the leftmost first. Short words are scanned for it; long ones keep their pairs in a heap,
// n log n in all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace nacelle::tokenizer {

class Merges {
 public:
  static constexpr std::uint32_t kNone = UINT32_MAX;

  struct Merge {
    std::uint32_t rank = kNone;
    std::uint32_t id = 0;  // of the two together
  };

  // Of two merges of one pair the later one counts.
  void add(std::uint32_t left, std::uint32_t right, Merge merge);
  void reserve(std::size_t count);

  // rank kNone: the two do not merge.
  [[nodiscard]] Merge find(std::uint32_t left, std::uint32_t right) const {
    const std::uint64_t key = key_of(left, right);
    std::size_t at = mix(key) & mask_;
    while (table_[at].key != key) {
      if (table_[at].key == kFree) return {};
      at = (at + 1) & mask_;
    }
    return table_[at].merge;
  }

  // Merges the symbols ids[from, end) as far as they go.
  void apply(std::vector<std::uint32_t>& ids, std::size_t from) const;

 private:
  static constexpr std::uint64_t kFree = UINT64_MAX;
  struct Slot {
    std::uint64_t key = kFree;
    Merge merge;
  };

  static std::uint64_t key_of(std::uint32_t left, std::uint32_t right) {
    return std::uint64_t{left} << 32U | right;
  }
  static std::uint64_t mix(std::uint64_t key) {
    // The multiplier is 2^64 / golden ratio; the high half holds the well-mixed bits.
    key *= 0x9E3779B97F4A7C15ULL;
    return key ^ key >> 32U;
  }
  [[nodiscard]] std::size_t slot(std::uint64_t key) const;

  void apply_scanning(std::vector<std::uint32_t>& ids, std::size_t from) const;
  void apply_with_heap(std::vector<std::uint32_t>& ids, std::size_t from) const;

  std::vector<Slot> table_ = std::vector<Slot>(2);  // a power of two, at most half full
  std::size_t mask_ = 1;
  std::size_t count_ = 0;
};

}  // namespace nacelle::tokenizer
