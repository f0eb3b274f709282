// The last N records that threads wrote, readable at any time without holding a writer up: each
// place has a sequence number that is odd while it is written (a seqlock), and every word of it is
// atomic, so a reader sees a whole record or none.
//
// Two writers meet in one place only when one is asleep for N records: the second drops its own.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>

namespace nacelle::sidecar {

template <typename Record, std::size_t kPlaces>
class SeqRing {
  static_assert(std::is_trivially_copyable_v<Record> &&
                sizeof(Record) % sizeof(std::uint64_t) == 0);
  static_assert((kPlaces & (kPlaces - 1)) == 0);

 public:
  static constexpr std::size_t kSize = kPlaces;

  // The number that the next record gets; numbers count up from 1.
  std::uint64_t reserve() { return next_.fetch_add(1, std::memory_order_relaxed) + 1; }

  // Any thread. `number` is from reserve(), each used once.
  void write(std::uint64_t number, const Record& record) {
    Place& place = places_[number & (kPlaces - 1)];
    std::uint64_t seen = place.sequence.load(std::memory_order_relaxed);
    // acquire: what another writer stored before is not mixed with what we store now.
    if ((seen & 1) != 0 || seen >= 2 * number ||
        !place.sequence.compare_exchange_strong(seen, 2 * number + 1, std::memory_order_acquire,
                                                std::memory_order_relaxed)) {
      return;
    }
    const auto words = std::bit_cast<std::array<std::uint64_t, kWords>>(record);
    // release: who reads one of these words sees the odd sequence before it, in read().
    for (std::size_t i = 0; i < kWords; ++i) {
      place.words[i].store(words[i], std::memory_order_release);
    }
    // release: who reads this even sequence sees all the words.
    place.sequence.store(2 * number + 2, std::memory_order_release);
  }

  // The number of the newest record, written or about to be; 0 when there is none.
  [[nodiscard]] std::uint64_t newest() const { return next_.load(std::memory_order_relaxed); }

  // Any thread. Nothing when the record is not there any more, or is being written.
  [[nodiscard]] std::optional<Record> read(std::uint64_t number) const {
    const Place& place = places_[number & (kPlaces - 1)];
    // acquire: pairs with the release of the even sequence in write().
    if (place.sequence.load(std::memory_order_acquire) != 2 * number + 2) return std::nullopt;
    std::array<std::uint64_t, kWords> words;
    // acquire: a word of a later record brings its odd sequence along, which is seen below.
    for (std::size_t i = 0; i < kWords; ++i)
      words[i] = place.words[i].load(std::memory_order_acquire);
    if (place.sequence.load(std::memory_order_relaxed) != 2 * number + 2) return std::nullopt;
    return std::bit_cast<Record>(words);
  }

 private:
  static constexpr std::size_t kWords = sizeof(Record) / sizeof(std::uint64_t);
  struct Place {
    std::atomic<std::uint64_t> sequence{0};
    std::array<std::atomic<std::uint64_t>, kWords> words{};
  };
  std::atomic<std::uint64_t> next_{0};
  std::unique_ptr<std::array<Place, kPlaces>> storage_ =
      std::make_unique<std::array<Place, kPlaces>>();
  std::array<Place, kPlaces>& places_ = *storage_;
};

}  // namespace nacelle::sidecar
