// The ids of words seen lately, for each thread by itself: natural text repeats its words, and a
// repeated one costs a hash and a comparison instead of its merges.
//
// One slot per hash, the later word wins. Threads share nothing, so nothing locks. Bounded: 768 KiB
// per thread that tokenizes, however many tokenizers there are.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

namespace nacelle::tokenizer {

class WordCache {
 public:
  static constexpr std::size_t kWordSizeMax = 46;  // bytes of a word that is kept
  static constexpr std::size_t kIdsMax = 10;

  // Told apart from all other tokenizers of the process, also from those that are gone.
  WordCache() : owner_(next_owner()) {}

  // Appends the ids of `word` when it is there.
  [[nodiscard]] bool find(std::string_view word, std::vector<std::uint32_t>& ids) const {
    const Slot& slot = slots()[index(word)];
    if (slot.owner != owner_ || std::string_view(slot.word.data(), slot.size) != word) return false;
    ids.insert(ids.end(), slot.ids.begin(), slot.ids.begin() + slot.count);
    return true;
  }

  // Keeps ids[from, end), unless the word or they are too long.
  void keep(std::string_view word, const std::vector<std::uint32_t>& ids, std::size_t from) const {
    const std::size_t count = ids.size() - from;
    if (word.size() > kWordSizeMax || count > kIdsMax) return;
    Slot& slot = slots()[index(word)];
    slot.owner = owner_;
    slot.size = static_cast<std::uint8_t>(word.size());
    slot.count = static_cast<std::uint8_t>(count);
    // Neither may be there at all: a word of nothing, or of unknown characters that are dropped.
    std::copy(word.begin(), word.end(), slot.word.begin());
    std::copy(ids.end() - static_cast<std::ptrdiff_t>(count), ids.end(), slot.ids.begin());
  }

 private:
  static constexpr std::size_t kSlots = 8192;
  struct Slot {
    std::uint64_t owner = 0;  // 0: free
    std::uint8_t size = 0;
    std::uint8_t count = 0;
    std::array<char, kWordSizeMax> word{};
    std::array<std::uint32_t, kIdsMax> ids{};
  };
  static_assert(sizeof(Slot) == 96);

  static std::uint64_t next_owner() {
    static std::atomic<std::uint64_t> owners{0};
    return owners.fetch_add(1, std::memory_order_relaxed) + 1;
  }
  static Slot* slots() {
    thread_local const std::unique_ptr<Slot[]> mine = std::make_unique<Slot[]>(kSlots);
    return mine.get();
  }
  [[nodiscard]] std::size_t index(std::string_view word) const {
    return (std::hash<std::string_view>{}(word) + owner_) & (kSlots - 1);
  }

  std::uint64_t owner_;
};

}  // namespace nacelle::tokenizer
