// What every client was asked, and what it got: kept by the process that is never killed.
//
// The test's own process makes the ledger before it forks any client, so it owns the memory and the
// clients only write to it. Each client thread has a book of its own, an append-only log in a ring:
//
//   submit()      writes an entry, before the call is made
//   answered()    puts what came back into the entry          lost()  puts the error
//
// so a client killed in between leaves exactly "submitted, nothing seen". The client judges
// nothing: it notes whose payload came back, its size and a digest, and audit() compares them here
// with f(payload), which the ledger computes itself.
//
//   ping   f is the identity. The payload begins with the book and the sequence of the call that it
//          belongs to, so a reply that is another client's (foreign) or an earlier call's (stale: a
//          second delivery) tells whose it is. The rest follows from these two and the seed.
//   embed  f is a table of digests, made by a client that nobody disturbed.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "sidecar/base/result.h"
#include "sidecar/base/time.h"

namespace nacelle::crash {

// Nanoseconds of CLOCK_REALTIME: the one clock that processes of different time namespaces share.
base::Nanos wall_ns();

enum class Kind : std::uint32_t { kPing, kEmbed };

struct Entry {
  std::uint64_t sequence = 0;
  Kind kind = Kind::kPing;
  std::uint32_t detail = 0;  // ping: bytes; embed: the number of the text
  base::Nanos submitted_at = 0;
  base::Nanos ended_at = 0;
  // Of the reply. A ping of fewer than 16 bytes names nobody: then these are the entry's own.
  std::uint64_t seen_book = 0;
  std::uint64_t seen_sequence = 0;
  std::uint64_t seen_size = 0;
  std::uint64_t digest = 0;
  std::uint32_t code = 0;                // base::Code, when lost
  std::atomic<std::uint32_t> state = 0;  // State; stored last
};
enum class State : std::uint32_t { kSubmitted = 1, kAnswered, kLost };

// One client thread's log. The thread appends, the ledger consumes; when the ring is full the
// thread waits.
struct Book {
  static constexpr std::uint64_t kEntries = 1024;
  std::uint64_t id = 0;    // names the thread's life: never used twice
  std::uint64_t seed = 0;  // of the whole run
  alignas(64) std::atomic<std::uint64_t> written = 0;
  std::atomic<std::uint64_t> answers = 0;  // how many entries were answered: for watching progress
  alignas(64) std::atomic<std::uint64_t> audited = 0;
  Entry entries[kEntries];

  // --- the client's thread ---
  Entry& submit(Kind kind, std::uint32_t detail);
  // The bytes of a ping for this entry.
  void fill(const Entry& entry, std::span<std::byte> payload) const;
  void answered(Entry& entry, std::span<const std::byte> reply);
  void lost(Entry& entry, base::Code code);

  // --- the ledger ---
  // Whether the last entry has no end yet.
  [[nodiscard]] bool waiting() const;
};

// A sum over books. Every entry is in exactly one of answered, lost and unseen.
struct Audit {
  std::uint64_t submitted = 0;
  std::uint64_t answered = 0;  // rightly or not
  std::uint64_t lost = 0;      // the client was told that there is no answer
  std::uint64_t unseen = 0;    // the client was killed before it could know
  std::uint64_t wrong = 0;     // answered with bytes that are nobody's
  std::uint64_t foreign = 0;   // answered with another book's reply
  std::uint64_t stale = 0;     // answered with an earlier reply of its own: delivered twice
  std::uint64_t broken = 0;    // the log itself is not what a client can leave behind
  std::map<base::Code, std::uint64_t> codes;  // of the lost
  std::vector<base::Nanos> latencies;         // of the answered
  std::vector<std::string> examples;          // the first few faults, in words
  struct Loss {
    base::Code code;
    base::Nanos submitted_at;
    base::Nanos ended_at;
  };
  std::vector<Loss> losses;

  [[nodiscard]] std::uint64_t faults() const { return wrong + foreign + stale + broken; }
  void add(const Audit& other);
};
std::ostream& operator<<(std::ostream& out, const Audit& audit);

class Ledger {
 public:
  Ledger(std::size_t books, std::uint64_t seed);
  ~Ledger();
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;

  // The digests of the right answers to embed, by text.
  void expect_embeddings(std::vector<std::uint64_t> digests) { embeddings_ = std::move(digests); }

  // A fresh life for book `index`, before the client that writes it is forked.
  Book& open(std::size_t index);
  [[nodiscard]] const Book& book(std::size_t index) const { return books_[index]; }
  [[nodiscard]] std::size_t size() const { return size_; }

  // Judges what has ended since the last time, and makes room.
  void audit(std::size_t index);
  void audit_all();
  // The same when the writer is gone. A killed one may leave one call without an end, any other
  // none.
  void close(std::size_t index, bool killed);

  // What was judged since the last take(): for looking at a stretch of time.
  Audit take();
  // Everything judged so far, in counts; takes what was not taken.
  const Audit& total() {
    take();
    return total_;
  }

 private:
  void judge(const Book& book, const Entry& entry);
  void fault(std::uint64_t Audit::*which, const Book& book, const Entry& entry, const char* what);

  Book* books_ = nullptr;  // shared with the clients
  std::size_t size_;
  std::uint64_t seed_;
  std::uint64_t next_id_ = 1;
  std::vector<std::uint64_t> embeddings_;
  Audit total_;  // without latencies and losses
  Audit recent_;
};

// Of any bytes, with their number.
std::uint64_t digest_of(std::span<const std::byte> bytes);

}  // namespace nacelle::crash
