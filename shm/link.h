// One live connection of a client: the regions, the free slots, the room in the request arena.
//
// A Link never comes back from the dead. When the sidecar goes, every call on it fails with
// kSidecarGone, and the Client makes a new one.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "shm/arena.h"
#include "shm/cache_reader.h"
#include "shm/carrier.h"
#include "shm/handshake.h"
#include "shm/layout.h"
#include "shm/region.h"
#include "sidecar/base/result.h"
#include "sidecar/base/time.h"

namespace nacelle::shm {

// A call that has been published and not yet been read.
struct Ticket {
  std::uint32_t slot = 0;
  std::uint64_t generation = 0;
  base::Nanos deadline = 0;  // CLOCK_MONOTONIC, or kDefaultDeadline
};

// A deadline that leaves the clock alone while the answer comes quickly: the sidecar's default time
// for a request, counted from when wait() begins to sleep.
inline constexpr base::Nanos kDefaultDeadline = 0;

// A call whose answer is a stream, and how far its pieces have been read.
struct StreamTicket {
  Ticket call;
  std::uint32_t position = 0;           // behind the last piece, in bytes of the slot's streams
  std::uint32_t ready = 0;              // as far as pieces were seen
  std::uint32_t given_back = 0;         // as far as the sidecar knows that they have been read
  std::vector<std::byte> wrapped = {};  // the piece at hand, if it wrapped around the ring's end
};

// What the sidecar answered; payload points into B and is valid until finish().
struct Answer {
  ReplyFields fields;
  std::span<const std::byte> payload;
};

struct CallFields {
  Op op = Op::kPing;
  std::uint16_t flags = 0;
  std::uint32_t service = 0;
  std::uint32_t items = 0;
  std::uint32_t deadline_us = 0;
  std::uint64_t trace = 0;
};

class Link {
 public:
  // Connects to `path`; kUnavailable when nobody listens. `deadline` bounds the whole handshake.
  static base::Result<std::shared_ptr<Link>> open(const std::string& path, const Hello& hello,
                                                  base::Nanos deadline);

  // Publishes a call of `payload_size` bytes that write(span) fills in. kBusy when no slot or no
  // arena room is free now, kSidecarGone when the link is dead.
  template <typename Write>
  base::Result<Ticket> submit(const CallFields& fields, std::uint32_t payload_size,
                              base::Nanos deadline, Write&& write) {
    base::Result<Claim> claim = this->claim(payload_size);
    if (!claim) return claim.error();
    write(claim->payload);
    return publish(*claim, fields, payload_size, deadline);
  }

  // The same for a call whose answer is a stream.
  template <typename Write>
  base::Result<StreamTicket> submit_stream(const CallFields& fields, std::uint32_t payload_size,
                                           base::Nanos deadline, Write&& write) {
    base::Result<Claim> claim = this->claim(payload_size);
    if (!claim) return claim.error();
    write(claim->payload);
    return publish_stream(*claim, fields, payload_size, deadline);
  }
  // The next piece, waiting for it; valid until the next call on this ticket. Nothing: the stream
  // has ended and `end` holds the answer; finish(ticket.call) must follow. Errors as wait(), and
  // those use up the ticket, too.
  base::Result<std::optional<std::span<const std::byte>>> next_piece(StreamTicket& ticket,
                                                                     Answer* end);
  // The same as far as it goes without looking at the sidecar's words: false when that is over, or
  // when the pieces make no sense; next_piece() then says which. With `keep` the pieces taken
  // before stay valid: false also when this one would need their room or their copy.
  [[nodiscard]] bool take_piece(StreamTicket& ticket, std::span<const std::byte>* piece,
                                bool keep = false);

  // For pollers. Asks for a byte on poll_fd() when the answer comes. True: it is there already, and
  // no byte need come.
  [[nodiscard]] bool poll(const Ticket& ticket);
  // To be called before each look at a poll()ed ticket, with that ticket's own `round` (0 at
  // first). The bytes on poll_fd() are for all tickets and do not say whose they are. So they are
  // read away by whoever looks for the second time in a round, which begins the next one: a byte
  // that comes after a ticket's look stays to be read until all tickets are looked at once more.
  // For callers that look at all of them when poll_fd() is readable, one at a time, and at a new
  // one as soon as it is published: a byte for one that has not looked yet may be read away.
  void begin_look(std::uint64_t& round);
  // Without waiting: the answer, nothing yet, or an error that uses up the ticket, as wait().
  base::Result<std::optional<Answer>> try_wait(const Ticket& ticket);
  [[nodiscard]] int poll_fd() const { return carrier_ ? carrier_->poll_fd() : socket_.get(); }

  // Waits for the answer. After kDeadlineExceeded or kSidecarGone the ticket is used up; after an
  // answer, finish() must follow once its payload has been read.
  base::Result<Answer> wait(const Ticket& ticket);
  void finish(const Ticket& ticket);
  // Gives a call up and tells the sidecar so; its slot comes back once the sidecar has answered.
  void cancel(const Ticket& ticket);

  // Of the protocol, as spoken on this link.
  [[nodiscard]] std::uint16_t version_minor() const { return version_minor_; }
  [[nodiscard]] std::uint32_t items_max() const { return items_max_; }
  [[nodiscard]] std::uint32_t text_bytes_max() const { return text_bytes_max_; }
  [[nodiscard]] std::uint32_t request_arena_size() const { return request_arena_size_; }
  [[nodiscard]] std::uint32_t reply_arena_size() const { return reply_arena_size_; }
  // Of a request that names none, sent now.
  [[nodiscard]] base::Nanos default_deadline(base::Nanos now) const;
  [[nodiscard]] bool dead() const { return dead_.load(std::memory_order_relaxed); }
  // Looks at the socket, which is a system call: a link whose sidecar is gone is dead from now on.
  [[nodiscard]] bool look_alive();
  // The answers that are read without asking, or null. Outlives the link, and the sidecar.
  [[nodiscard]] const std::shared_ptr<const CacheReader>& cache() const { return cache_; }
  // For a forked child, which must not keep its parent's connection alive: closes the descriptors.
  void close_inherited();
  [[nodiscard]] std::uint64_t rescued_by_timeout() const {
    return rescued_by_timeout_.load(std::memory_order_relaxed);
  }

 private:
  struct Claim {
    std::uint32_t slot = 0;
    std::uint32_t offset = 0;  // in A's arena, when the payload is not inline
    std::span<std::byte> payload;
  };
  // The client's books about a slot; touched by the thread that owns the slot's call.
  struct SlotState {
    std::uint64_t generation = 0;  // the last one published
    std::uint32_t arena_offset = 0;
    std::uint32_t arena_size = 0;      // 0: the payload was inline
    std::span<const std::byte> reply;  // the begin of the last one's payload: probably the next's
  };

  Link() : arena_(0, 0) {}
  base::Status read_header();
  base::Result<Claim> claim(std::uint32_t payload_size);
  base::Result<Ticket> publish(const Claim& claim, const CallFields& fields,
                               std::uint32_t payload_size, base::Nanos deadline);
  base::Result<StreamTicket> publish_stream(const Claim& claim, const CallFields& fields,
                                            std::uint32_t payload_size, base::Nanos deadline);
  void give_back(StreamTicket& ticket);
  [[nodiscard]] const std::byte* ring_of(const StreamTicket& ticket) const;
  void ring_doorbell();
  bool carry_request(const Claim& claim, std::uint32_t payload_size);
  void carry_word(const std::atomic<std::uint64_t>& word);
  void carry_word(const std::atomic<std::uint32_t>& word);
  void release(std::uint32_t slot, std::uint64_t generation);
  base::Status sleep_until(const Ticket& ticket, const std::atomic<std::uint32_t>& word,
                           const std::function<bool()>& done);
  std::optional<std::uint32_t> claim_slot();
  void free_slot(std::uint32_t slot);
  void abandon(const Ticket& ticket);
  void collect_abandoned();
  [[nodiscard]] bool replied(const Ticket& ticket) const;
  base::Result<Answer> read_answer(const Ticket& ticket);
  void count_rescue(const Ticket& ticket, std::uint32_t before);
  base::Error gone();
  [[nodiscard]] RequestSlot& request_slot(std::uint32_t slot) const;
  [[nodiscard]] const ReplySlot& reply_slot(std::uint32_t slot) const;

  std::string path_;
  base::Fd socket_;
  base::Fd doorbell_;
  Mapping request_;                           // A
  Mapping reply_;                             // B, read-only here
  std::unique_ptr<Carrier> carrier_;          // when the two are copies: brings them up to date
  std::shared_ptr<const CacheReader> cache_;  // of region C
  std::uint16_t version_minor_ = 0;
  std::uint32_t slots_ = 0;
  std::uint32_t request_slot_size_ = 0;
  std::uint32_t reply_slot_size_ = 0;
  std::uint32_t request_slots_offset_ = 0;
  std::uint32_t reply_slots_offset_ = 0;
  std::uint32_t request_arena_offset_ = 0;
  std::uint32_t request_arena_size_ = 0;
  std::uint32_t reply_arena_offset_ = 0;
  std::uint32_t reply_arena_size_ = 0;
  std::uint32_t items_max_ = 0;
  std::uint32_t text_bytes_max_ = 0;
  std::uint32_t deadline_default_us_ = 0;
  std::uint32_t stream_ring_size_ = 0;
  base::Nanos spin_ns_ = 0;

  std::uint64_t poll_round_ = 1;  // for the callers of begin_look(), who take turns

  std::atomic<bool> dead_{false};
  std::atomic<std::uint64_t> rescued_by_timeout_{0};
  std::mutex mutex_;  // guards everything below; private, and never held while waiting
  Arena arena_;       // A's
  Backing backing_;   // A's
  std::unique_ptr<SlotState[]> states_;
  std::uint64_t free_[kSlotsMax / 64] = {};       // a bit per free slot
  std::uint64_t abandoned_[kSlotsMax / 64] = {};  // published, given up on, not yet answered
};

}  // namespace nacelle::shm
