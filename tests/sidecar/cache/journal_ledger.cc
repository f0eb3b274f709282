#include "tests/sidecar/cache/journal_ledger.h"

#include <algorithm>
#include <cstring>

#include "sidecar/base/bytes.h"

namespace nacelle::cache {
namespace {

constexpr std::uint32_t kServices = 3;

// Numbers that follow from a seed: splitmix64.
std::uint64_t scrambled(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

}  // namespace

Value value_of(std::uint32_t key, std::uint64_t number, std::size_t body_bytes) {
  Value value;
  value.head.resize(kLedgerHeadBytes);
  const std::uint64_t size = body_bytes;
  std::memcpy(value.head.data(), &number, sizeof number);
  std::memcpy(value.head.data() + sizeof number, &size, sizeof size);
  value.body.resize(body_bytes);
  for (std::size_t at = 0; at < body_bytes; at += 8) {
    const std::uint64_t word = scrambled(number * 1'000'003 + key * 65'537 + at);
    std::memcpy(value.body.data() + at, &word, std::min<std::size_t>(8, body_bytes - at));
  }
  return value;
}

shm::CacheKey key_of(std::uint32_t key) {
  shm::CacheKey bytes{};
  std::memcpy(bytes.bytes.data(), &key, sizeof key);
  for (std::size_t at = 8; at < bytes.bytes.size(); at += 8) {
    const std::uint64_t word = scrambled(key + at);
    std::memcpy(bytes.bytes.data() + at, &word, sizeof word);
  }
  return bytes;
}

Entry entry_of(std::uint32_t key, std::uint64_t number, const Value& value) {
  return Entry{.key = key_of(key),
               .head = value.head,
               .body = value.body,
               .attributes = {.ttl_s = static_cast<std::uint32_t>(number) + 60,
                              .service = key % kServices,
                              .source = static_cast<Source>(number % 3),
                              .compute_ns = number * 1000},
               .created_wall_ns = static_cast<std::int64_t>(number) * 1'000'000};
}

std::uint32_t ledger_key(const Entry& entry) {
  std::uint32_t key = 0;
  std::memcpy(&key, entry.key.bytes.data(), sizeof key);
  return key;
}

std::uint64_t ledger_number(const Entry& entry) {
  std::uint64_t number = 0;
  if (entry.head.size() >= sizeof number) {
    std::memcpy(&number, entry.head.data(), sizeof number);
  }
  return number;
}

Replay Recovered::replay() {
  return Replay{
      .put =
          [this](const Entry& entry) {
            ++entries_;
            const std::uint32_t key = ledger_key(entry);
            const std::uint64_t number = ledger_number(entry);
            const Value value = value_of(key, number, entry.body.size());
            const Entry right = entry_of(key, number, value);
            const bool same = std::ranges::equal(entry.head, right.head) &&
                              std::ranges::equal(entry.body, right.body) &&
                              entry.key == right.key &&
                              entry.attributes.ttl_s == right.attributes.ttl_s &&
                              entry.attributes.service == right.attributes.service &&
                              entry.attributes.source == right.attributes.source &&
                              entry.attributes.compute_ns == right.attributes.compute_ns &&
                              entry.created_wall_ns == right.created_wall_ns;
            if (!same) {
              fault_ = "key " + std::to_string(key) + " came back with bytes that nobody put";
            }
            puts_[key] = number;
            services_[key] = entry.attributes.service;
          },
      .erase =
          [this](const shm::CacheKey& key) {
            std::erase_if(puts_, [&](const auto& put) { return key_of(put.first) == key; });
          },
      .purge =
          [this](std::optional<std::uint32_t> service) {
            std::erase_if(puts_, [&](const auto& put) {
              return !service || services_[put.first] == *service;
            });
          }};
}

std::uint64_t Ledger::put(std::uint32_t key) {
  books_[key].events.push_back({next_, true});
  return next_++;
}

void Ledger::erased(std::uint32_t key) { books_[key].events.push_back({next_++, false}); }

void Ledger::purged(std::optional<std::uint32_t> service, std::uint32_t keys) {
  for (std::uint32_t key = 0; key < keys; ++key) {
    if (!service || key % kServices == *service) erased(key);
  }
}

void Ledger::durable(std::uint32_t key) {
  if (frozen_) return;
  Book& book = books_[key];
  for (const Event& event : book.events) {
    if (!event.refused) book.durable = std::max(book.durable, event.number);
  }
}

void Ledger::refused(std::uint64_t from) {
  for (auto& [key, book] : books_) {
    for (Event& event : book.events) event.refused = event.refused || event.number >= from;
  }
}

void Ledger::all_durable() {
  for (auto& [key, book] : books_) durable(key);
}

void Ledger::dropped(std::uint32_t key, std::uint64_t number) {
  Book& book = books_[key];
  book.dropped = std::max(book.dropped, number);
}

bool Ledger::is_current(std::uint32_t key, std::uint64_t number) const {
  const auto at = books_.find(key);
  return at != books_.end() && at->second.events.back().put &&
         at->second.events.back().number == number;
}

std::string Ledger::judge(const Recovered& recovered) const {
  if (!recovered.fault().empty()) return recovered.fault();
  for (const auto& [key, number] : recovered.puts()) {
    const auto book = books_.find(key);
    const std::string what = "key " + std::to_string(key) + ", put " + std::to_string(number);
    if (book == books_.end()) return what + " was never put";
    const std::uint64_t wanted = number;
    const bool known = std::any_of(book->second.events.begin(), book->second.events.end(),
                                   [&](const Event& e) { return e.put && e.number == wanted; });
    if (!known) return what + " was never put";
    if (number < book->second.durable) {
      return what + " came back, but " + std::to_string(book->second.durable) + " was durable";
    }
  }
  for (const auto& [key, book] : books_) {
    if (book.durable == 0 || recovered.puts().contains(key)) continue;
    // Gone rightly: by what took it away, at the durable moment or later, or for room.
    const std::uint64_t durable = book.durable;
    const bool erased = std::any_of(book.events.begin(), book.events.end(),
                                    [&](const Event& e) { return !e.put && e.number >= durable; });
    if (!erased && book.dropped < durable) {
      return "key " + std::to_string(key) + ", put " + std::to_string(durable) +
             " was durable and is lost";
    }
  }
  return "";
}

}  // namespace nacelle::cache
