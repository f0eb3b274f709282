#include "tests/crash/ledger.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <ctime>
#include <new>
#include <ostream>
#include <thread>
#include <utility>

#include "sidecar/base/check.h"

namespace nacelle::crash {
namespace {

constexpr std::size_t kExamplesMax = 8;
constexpr std::size_t kIdentity = 16;  // bytes of a ping that say whose it is

// splitmix64: a good mixture of every bit of x.
std::uint64_t mix(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

}  // namespace

base::Nanos wall_ns() {
  timespec time{};
  ::clock_gettime(CLOCK_REALTIME, &time);
  return static_cast<base::Nanos>(time.tv_sec) * base::kSecond + time.tv_nsec;
}

// Eight bytes at a time: a digest of 64 KiB must not be what a load spends its time on.
std::uint64_t digest_of(std::span<const std::byte> bytes) {
  std::uint64_t digest = mix(bytes.size());
  while (!bytes.empty()) {
    std::uint64_t word = 0;
    const std::size_t size = std::min(bytes.size(), sizeof word);
    std::memcpy(&word, bytes.data(), size);
    digest = (digest ^ word) * 0x9FB21C651E98DF25;
    digest ^= digest >> 32;
    bytes = bytes.subspan(size);
  }
  return digest;
}

Entry& Book::submit(Kind kind, std::uint32_t detail) {
  const std::uint64_t sequence = written.load(std::memory_order_relaxed);
  while (sequence - audited.load(std::memory_order_acquire) >= kEntries) std::this_thread::yield();
  Entry& entry = entries[sequence % kEntries];
  entry.sequence = sequence;
  entry.kind = kind;
  entry.detail = detail;
  entry.submitted_at = wall_ns();
  entry.state.store(static_cast<std::uint32_t>(State::kSubmitted), std::memory_order_relaxed);
  // Release: the entry is whole before the count that announces it, whenever we are killed.
  written.store(sequence + 1, std::memory_order_release);
  return entry;
}

void Book::fill(const Entry& entry, std::span<std::byte> payload) const {
  const std::uint64_t key = mix(seed ^ mix(id) ^ mix(entry.sequence + 1));
  for (std::size_t at = 0; at < payload.size(); at += 8) {
    const std::uint64_t word = at == 0 ? id : at == 8 ? entry.sequence : mix(key + at);
    std::memcpy(payload.data() + at, &word, std::min<std::size_t>(8, payload.size() - at));
  }
}

void Book::answered(Entry& entry, std::span<const std::byte> reply) {
  entry.seen_book = id;
  entry.seen_sequence = entry.sequence;
  if (entry.kind == Kind::kPing && reply.size() >= kIdentity) {
    std::memcpy(&entry.seen_book, reply.data(), 8);
    std::memcpy(&entry.seen_sequence, reply.data() + 8, 8);
  }
  entry.seen_size = reply.size();
  entry.digest = digest_of(reply);
  entry.ended_at = wall_ns();
  entry.state.store(static_cast<std::uint32_t>(State::kAnswered), std::memory_order_release);
  answers.fetch_add(1, std::memory_order_relaxed);
}

void Book::lost(Entry& entry, base::Code code) {
  entry.code = static_cast<std::uint32_t>(code);
  entry.ended_at = wall_ns();
  entry.state.store(static_cast<std::uint32_t>(State::kLost), std::memory_order_release);
}

bool Book::waiting() const {
  const std::uint64_t count = written.load(std::memory_order_acquire);
  return count > 0 && entries[(count - 1) % kEntries].state.load(std::memory_order_acquire) ==
                          static_cast<std::uint32_t>(State::kSubmitted);
}

void Audit::add(const Audit& other) {
  submitted += other.submitted;
  answered += other.answered;
  lost += other.lost;
  unseen += other.unseen;
  wrong += other.wrong;
  foreign += other.foreign;
  stale += other.stale;
  broken += other.broken;
  for (const auto& [code, count] : other.codes) codes[code] += count;
  for (const std::string& example : other.examples) {
    if (examples.size() < kExamplesMax) examples.push_back(example);
  }
}

std::ostream& operator<<(std::ostream& out, const Audit& audit) {
  out << audit.submitted << " submitted = " << audit.answered << " answered + " << audit.lost
      << " lost + " << audit.unseen << " unseen; " << audit.wrong << " wrong, " << audit.foreign
      << " foreign, " << audit.stale << " stale, " << audit.broken << " broken";
  for (const auto& [code, count] : audit.codes) {
    out << "; " << count << " x " << base::code_name(code);
  }
  for (const std::string& example : audit.examples) out << "\n  " << example;
  return out;
}

Ledger::Ledger(std::size_t books, std::uint64_t seed) : size_(books), seed_(seed) {
  void* memory = ::mmap(nullptr, books * sizeof(Book), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  CHECK(memory != MAP_FAILED);
  books_ = static_cast<Book*>(memory);
  for (std::size_t i = 0; i < books; ++i) new (books_ + i) Book();
}

Ledger::~Ledger() { ::munmap(books_, size_ * sizeof(Book)); }

Book& Ledger::open(std::size_t index) {
  CHECK(index < size_);
  Book& book = books_[index];
  CHECK(book.audited.load() == book.written.load());
  book.id = next_id_++;
  book.seed = seed_;
  book.written.store(0);
  book.audited.store(0);
  book.answers.store(0);
  return book;
}

void Ledger::fault(std::uint64_t Audit::*which, const Book& book, const Entry& entry,
                   const char* what) {
  recent_.*which += 1;
  if (recent_.examples.size() >= kExamplesMax) return;
  recent_.examples.push_back(
      std::string(what) + ": book " + std::to_string(book.id) + ", call " +
      std::to_string(entry.sequence) + (entry.kind == Kind::kPing ? ", ping of " : ", text ") +
      std::to_string(entry.detail) + "; the reply has " + std::to_string(entry.seen_size) +
      " bytes and is of book " + std::to_string(entry.seen_book) + ", call " +
      std::to_string(entry.seen_sequence));
}

void Ledger::judge(const Book& book, const Entry& entry) {
  if (entry.state.load(std::memory_order_relaxed) == static_cast<std::uint32_t>(State::kLost)) {
    ++recent_.lost;
    ++recent_.codes[static_cast<base::Code>(entry.code)];
    recent_.losses.push_back(
        {static_cast<base::Code>(entry.code), entry.submitted_at, entry.ended_at});
    return;
  }
  ++recent_.answered;
  recent_.latencies.push_back(entry.ended_at - entry.submitted_at);
  bool right = false;
  if (entry.kind == Kind::kPing) {
    std::vector<std::byte> payload(entry.detail);
    book.fill(entry, payload);
    right = entry.digest == digest_of(payload);
  } else {
    right = entry.detail < embeddings_.size() && entry.digest == embeddings_[entry.detail];
  }
  if (right) return;
  if (entry.seen_book == book.id && entry.seen_sequence < entry.sequence) {
    fault(&Audit::stale, book, entry, "stale");
  } else if (entry.seen_book != book.id && entry.seen_book < next_id_ && entry.seen_book != 0) {
    fault(&Audit::foreign, book, entry, "foreign");
  } else {
    fault(&Audit::wrong, book, entry, "wrong");
  }
}

void Ledger::audit(std::size_t index) {
  Book& book = books_[index];
  const std::uint64_t written = book.written.load(std::memory_order_acquire);
  std::uint64_t at = book.audited.load(std::memory_order_relaxed);
  for (; at < written; ++at) {
    const Entry& entry = book.entries[at % Book::kEntries];
    // Acquire: pairs with answered() and lost().
    const auto state = static_cast<State>(entry.state.load(std::memory_order_acquire));
    if (state == State::kSubmitted) break;
    ++recent_.submitted;
    if (entry.sequence != at) fault(&Audit::broken, book, entry, "out of order");
    judge(book, entry);
  }
  book.audited.store(at, std::memory_order_release);
}

void Ledger::audit_all() {
  for (std::size_t i = 0; i < size_; ++i) audit(i);
}

void Ledger::close(std::size_t index, bool killed) {
  audit(index);
  Book& book = books_[index];
  const std::uint64_t written = book.written.load(std::memory_order_acquire);
  std::uint64_t at = book.audited.load(std::memory_order_relaxed);
  for (std::uint64_t open = 0; at < written; ++at, ++open) {
    const Entry& entry = book.entries[at % Book::kEntries];
    ++recent_.submitted;
    ++recent_.unseen;
    // A thread makes one call at a time, and one that was not killed sees each of them end.
    if (!killed || open > 0) fault(&Audit::broken, book, entry, "without an end");
  }
  book.audited.store(at, std::memory_order_release);
}

Audit Ledger::take() {
  total_.add(recent_);
  return std::exchange(recent_, Audit());
}

}  // namespace nacelle::crash
