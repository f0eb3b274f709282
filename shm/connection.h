// The sidecar's end of a connection: takes requests out of A, puts replies into B.
//
// Whatever A holds is copied once and the copy is validated; whatever decides anything (which
// generation comes next, which slots are busy, which bytes of B's arena are lent) is private. So a
// client that dies leaves nothing to repair, and one that lies is found out and disconnected.
//
// Threads: one thread (intake) takes and reserves; any thread may stream and complete a request,
// one at a time for each request, which is completed once. The two meet in a slot's `busy` word
// only.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shm/arena.h"
#include "shm/handshake.h"
#include "shm/layout.h"
#include "shm/protocol.h"
#include "shm/region.h"
#include "sidecar/base/fd.h"
#include "sidecar/base/result.h"

namespace nacelle::shm {

// A request, copied out of A and within bounds: known op, sizes inside the region, right
// generation. The payload is not copied yet.
struct Submission {
  std::uint32_t slot = 0;
  std::uint64_t generation = 0;
  Op op = Op::kPing;
  std::uint16_t flags = 0;  // any
  std::uint32_t service = 0;
  std::uint32_t items = 0;
  std::uint32_t payload_size = 0;
  std::uint32_t payload_offset = 0;  // in A's arena, when the payload is not inline
  std::uint32_t deadline_us = 0;
  std::uint64_t trace = 0;
  std::byte inline_payload[kRequestInline];
};

// How a client can break the protocol. Each ends its connection and is counted by its name.
enum class Violation : std::uint8_t {
  kSlotsUsed,   // more slots in use than there are
  kGeneration,  // a generation that is not the next one
  kBusySlot,    // a slot published again before its reply
  kOp,          // an op that does not exist
  kPayload,     // a payload outside the arena
  kSocket,      // bytes on the socket, which is silent after the handshake
};
inline constexpr std::array<std::string_view, 6> kViolationNames = {
    "slots_used", "generation", "busy_slot", "op", "payload", "socket"};
static_assert(static_cast<std::size_t>(Violation::kSocket) + 1 == kViolationNames.size());

struct Limits {
  std::uint32_t items_max = 4096;                  // texts in one request
  std::uint32_t text_bytes_max = 1U << 20;         // bytes of one text
  std::uint32_t deadline_default_us = 30'000'000;  // for requests that name none
};

// What a client that can read it gets of the result cache: both -1 when there is none for it. The
// descriptors stay the caller's.
struct CacheOffer {
  int region = -1;   // C
  int touches = -1;  // the connection's touch page
};

// A client that must be told of a reply, and how: what answering returns.
struct Waiter {
  std::uint32_t slot = 0;
  std::uint32_t how = kWaitsNot;  // as the client says; any other value is a sleeper
  bool streaming = false;         // sleeps on the slot's progress, not on its generation
  std::uint32_t news = 0;         // the low half of the generation, or the progress, to wake for
  explicit operator bool() const { return how != kWaitsNot; }
};

class Connection {
 public:
  // Makes the regions for `socket`, whose hello has been read, and sends them. `id` is ours, for
  // people; `epoch` is the sidecar's. After an error the socket is still the caller's, to say why.
  static base::Result<std::shared_ptr<Connection>> open(
      base::Fd&& socket, const Peer& peer, const Hello& hello, const Geometry& geometry,
      const Limits& limits, std::uint64_t epoch, std::uint64_t id, const CacheOffer& cache = {});

  // --- the intake thread ---

  // The next published slot at or after *cursor, below slots_used: copies it to `out`, moves
  // *cursor behind it and returns true; false when the sweep is over. An error is a violation of
  // the protocol, violation() says which: the connection must be closed.
  base::Result<bool> take(std::uint32_t* cursor, Submission* out);
  [[nodiscard]] Violation violation() const { return violation_; }  // after take() failed
  // Copies the payload of a submission to `out`, whose size is payload_size. False when a lie in
  // the slot points outside the arena; take() has ruled that out, so it is a violation too.
  [[nodiscard]] bool copy_payload(const Submission& submission, std::span<std::byte> out) const;
  // `size` bytes of B for the reply to a taken request, zeroed; empty when B's arena has no room
  // now. Small replies need no arena. Given back when the client says that it has read the reply.
  // Whoever writes every byte himself needs no zeros: what lies there is this client's own.
  enum class Fill { kZeros, kNothing };
  [[nodiscard]] std::span<std::byte> reserve(const Submission& submission, std::uint64_t size,
                                             Fill fill = Fill::kZeros);
  // Whether a reply of this size could ever be reserved.
  [[nodiscard]] bool could_hold(std::uint64_t size) const;
  // Announces that the sidecar sleeps; every sweep after set_asleep(true) sees what was published
  // before the client could read the word.
  void set_asleep(bool asleep);

  // Lends a ring for the stream that answers a taken request; false when B's arena has no room now.
  [[nodiscard]] bool open_stream(const Submission& submission);
  // The most bytes that a piece of a stream can have: two of them fit into a ring.
  [[nodiscard]] std::uint32_t piece_max() const;

  // --- any thread ---

  // Writes a piece, of at most piece_max() bytes, into the ring of the slot's stream; false when
  // the reader has not made room for it yet. Unseen until publish_pieces().
  [[nodiscard]] bool write_piece(std::uint32_t slot, std::span<const std::byte> piece);
  [[nodiscard]] Waiter publish_pieces(std::uint32_t slot);
  // Announces that the stream waits for room for a piece of `size` bytes: the doorbell rings when
  // its reader has read on. False, and nothing is announced: there is room now.
  [[nodiscard]] bool park_stream(std::uint32_t slot, std::uint64_t size);

  // Publishes the reply whose payload is in reserve()d memory, or the end of a stream (payload_size
  // 0). When the result is true the client waits for it: then wake() it, from whatever thread has
  // time for that.
  [[nodiscard]] Waiter complete(std::uint32_t slot, std::uint64_t generation,
                                const ReplyFields& fields, std::uint64_t payload_size);
  // The same for an answer in words, cut to what a slot holds.
  [[nodiscard]] Waiter complete_error(std::uint32_t slot, std::uint64_t generation,
                                      const base::Error& error, std::uint32_t retry_after_us = 0);
  // Never blocks, whatever the client does with its ends.
  void wake(const Waiter& waiter);
  // Whether the client has given up on the request.
  [[nodiscard]] bool cancelled(std::uint32_t slot, std::uint64_t generation) const;

  // No more replies are wanted; complete() becomes a no-op for the client's eyes.
  void close() { closed_.store(true, std::memory_order_relaxed); }
  [[nodiscard]] bool closed() const { return closed_.load(std::memory_order_relaxed); }

  [[nodiscard]] int socket() const { return socket_.get(); }
  // Readable once the client's process has ended; -1 where the kernel cannot tell (process_of()).
  [[nodiscard]] int process() const { return process_.get(); }
  // The client's, when it is not who connected `socket` (sidecar/relay.h).
  void set_process(base::Fd process) { process_ = std::move(process); }
  // Rung by the client when it publishes while we sleep. For an edge-triggered epoll only, never to
  // be read: the client holds the same open file, and could make a read block for ever.
  [[nodiscard]] int doorbell() const { return doorbell_.get(); }
  [[nodiscard]] const Peer& peer() const { return peer_; }
  [[nodiscard]] const std::string& name() const { return name_; }  // as the client calls itself
  [[nodiscard]] std::uint64_t id() const { return id_; }
  [[nodiscard]] std::uint32_t in_flight() const {
    return in_flight_.load(std::memory_order_relaxed);
  }

 private:
  // What we remember about a slot. Only `busy` is read by two threads.
  struct SlotState {
    std::uint64_t generation = 0;  // the last one taken
    std::uint32_t lent_offset = 0;
    std::uint64_t lent_size = 0;  // 0: nothing of B's arena is lent
    std::byte* reply = nullptr;   // where the payload of the reply goes
    std::atomic<bool> busy{false};
    // Of streams; they count bytes as the words in the slot do, and outlive each stream.
    bool streaming = false;
    bool parked = false;
    std::uint32_t progress = 0;
    std::uint32_t written = 0;            // into the ring
    std::uint32_t consumed = 0;           // as far as the client has made us believe
    std::unique_ptr<std::byte[]> staged;  // the last of what was written, not yet in the ring
    std::uint32_t staged_size = 0;
  };

  // A word of the client's, for protocol.h: every load is a copy out of untrusted memory.
  struct WordU64 {
    const Untrusted& region;
    std::uint64_t offset;
    [[nodiscard]] std::uint64_t load(std::memory_order) const { return region.load_u64(offset); }
  };
  struct WordU32 {
    const Untrusted& region;
    std::uint64_t offset;
    [[nodiscard]] std::uint32_t load(std::memory_order) const { return region.load_u32(offset); }
  };

  Connection() : arena_(0, 0) {}
  void write_header(std::uint64_t epoch, const Limits& limits);
  base::Error broken(Violation violation, const std::string& what);
  [[nodiscard]] std::uint64_t request_slot(std::uint32_t slot) const;
  [[nodiscard]] WordU64 word_u64(std::uint32_t slot, std::size_t field) const;
  [[nodiscard]] WordU32 word_u32(std::uint32_t slot, std::size_t field) const;
  [[nodiscard]] ReplySlot& reply_slot(std::uint32_t slot) const;
  void take_back(SlotState& state);
  void collect_released();
  std::byte* lend(SlotState& state, std::uint64_t size);
  [[nodiscard]] std::uint32_t ring_room(std::uint32_t slot);
  void copy_to_ring(const SlotState& state, std::uint32_t at, const void* bytes,
                    std::size_t size) const;
  void flush_pieces(SlotState& state) const;

  Geometry geometry_;
  base::Fd socket_;
  base::Fd process_;  // a pidfd
  base::Fd doorbell_;
  Mapping request_;  // A, read-only here
  Mapping reply_;    // B
  Untrusted from_client_;
  Peer peer_;
  std::string name_;
  std::uint64_t id_ = 0;
  std::unique_ptr<SlotState[]> slots_;
  Arena arena_;      // B's
  Backing backing_;  // B's
  Violation violation_ = Violation::kSlotsUsed;
  std::atomic<std::uint32_t> in_flight_{0};
  std::atomic<bool> closed_{false};
};

}  // namespace nacelle::shm
