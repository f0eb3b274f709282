// What a journal was told, what it acknowledged, and so what may come back from it.
//
// Every put has a number, and its value follows from key and number: what comes back says which put
// it is of, and any byte that is not as it was put is seen.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sidecar/cache/journal.h"

namespace nacelle::cache {

// The value of one put: 16 bytes of head, and the body.
struct Value {
  std::vector<std::byte> head;
  std::vector<std::byte> body;
};
inline constexpr std::size_t kLedgerHeadBytes = 16;
Value value_of(std::uint32_t key, std::uint64_t number, std::size_t body_bytes);

shm::CacheKey key_of(std::uint32_t key);
// The time at which put `number` was made, and its other attributes.
Entry entry_of(std::uint32_t key, std::uint64_t number, const Value& value);

// What came back: the last put of each key that no later record takes away. A fault is kept as a
// sentence.
class Recovered {
 public:
  [[nodiscard]] Replay replay();
  [[nodiscard]] const std::map<std::uint32_t, std::uint64_t>& puts() const { return puts_; }
  [[nodiscard]] const std::string& fault() const { return fault_; }
  [[nodiscard]] std::uint64_t entries() const { return entries_; }

 private:
  std::map<std::uint32_t, std::uint64_t> puts_;  // key to number
  std::map<std::uint32_t, std::uint32_t> services_;
  std::uint64_t entries_ = 0;
  std::string fault_;
};

class Ledger {
 public:
  // Before the journal is told. The number of the put, or of what takes away.
  std::uint64_t put(std::uint32_t key);
  void erased(std::uint32_t key);
  // Of the keys below `keys`.
  void purged(std::optional<std::uint32_t> service, std::uint32_t keys);

  // The last call was refused, with all numbers from this one on: they may have their effect or
  // not.
  void refused(std::uint64_t from);
  // The number that comes next.
  [[nodiscard]] std::uint64_t next() const { return next_; }

  // Everything so far, or so far of this key, is durable, but for what was refused.
  void all_durable();
  void durable(std::uint32_t key);
  // From now on nothing becomes durable: what is told may have its effect or not.
  void freeze() { frozen_ = true; }
  // This put was in a segment that goes, and is not carried over for sure.
  void dropped(std::uint32_t key, std::uint64_t number);

  // Whether `number` is the last that `key` was told, and no erase is.
  [[nodiscard]] bool is_current(std::uint32_t key, std::uint64_t number) const;
  // What is wrong with this; "" for nothing.
  [[nodiscard]] std::string judge(const Recovered& recovered) const;
  [[nodiscard]] std::uint64_t keys() const { return books_.size(); }

 private:
  struct Event {
    std::uint64_t number;
    bool put;
    bool refused = false;
  };
  struct Book {
    std::vector<Event> events;
    std::uint64_t durable = 0;  // the last event that must have its effect; 0: none must
    std::uint64_t dropped = 0;  // puts up to this one may be missing
  };
  std::map<std::uint32_t, Book> books_;
  std::uint64_t next_ = 1;
  bool frozen_ = false;
};

// What a test gets from the ledger's own entries.
std::uint32_t ledger_key(const Entry& entry);
std::uint64_t ledger_number(const Entry& entry);

}  // namespace nacelle::cache
