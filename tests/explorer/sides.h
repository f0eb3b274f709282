// Both ends of a connection in the explored world. Every step on a shared word is shm/protocol.h's
// own; what stands around it is written after the function that each comment names, without
// time-outs: a wake-up that is lost is a thread that waits for ever.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "shm/protocol.h"
#include "tests/explorer/planted.h"
#include "tests/explorer/words.h"

namespace nacelle::explorer {

inline constexpr std::uint32_t kSlots = 2;
inline constexpr std::uint32_t kRing = 2;  // pieces; the words count pieces instead of bytes
inline constexpr std::uint64_t kRefused = 999'999;  // the reply when the sidecar does not do it

// What a right reply to a payload is.
constexpr std::uint64_t reply_to(std::uint64_t payload) { return payload + 100'000; }

// A request's flavours.
enum class Kind { kCall, kArena, kStream };

// The two regions, and what the kernel holds for the connection.
struct Regions {
  struct Slot {
    explicit Slot(int i)
        : generation("request.generation", i),
          released("request.released", i),
          cancel("request.cancel", i),
          waiting("request.waiting", i),
          consumed("request.consumed", i),
          reply_generation("reply.generation", i),
          progress("reply.progress", i),
          produced("reply.produced", i),
          stalled("reply.stalled", i) {}
    Word<std::uint64_t> generation;
    Word<std::uint64_t> released;
    Word<std::uint32_t> cancel;
    Word<std::uint32_t> waiting;
    Word<std::uint32_t> consumed;
    Data payload{"a request's payload"};
    Word<std::uint64_t> reply_generation;
    Word<std::uint32_t> progress;
    Word<std::uint32_t> produced;
    Word<std::uint32_t> stalled;
    Data reply{"a reply's payload"};
    std::array<Data, kRing> ring{Data("piece 0 of the ring"), Data("piece 1 of the ring")};
  };
  Word<std::uint32_t> slots_used{"slots_used"};
  Word<std::uint32_t> asleep{"asleep"};
  std::array<Slot, kSlots> slots{Slot(0), Slot(1)};
  Data arena{"the reply arena"};  // room for one reply
  Object doorbell{.name = "the doorbell"};
  Object socket{.name = "a byte on the socket"};
};

struct Ticket {
  std::uint32_t slot = 0;
  std::uint64_t generation = 0;
  Kind kind = Kind::kCall;
};

// The client's end: shm/link.cc and shm/link_stream.cc.
class Client {
 public:
  explicit Client(Regions& regions) : shm_(regions) {}

  // Nothing: all slots are in use.
  std::optional<Ticket> submit(std::uint64_t payload, Kind kind = Kind::kCall);
  // Waits, reads the reply and gives the slot back.
  std::uint64_t wait(const Ticket& ticket);
  void cancel(const Ticket& ticket);
  [[nodiscard]] bool replied(const Ticket& ticket) const;
  [[nodiscard]] bool poll(const Ticket& ticket);
  std::uint64_t read_and_finish(const Ticket& ticket);
  Object& socket() { return shm_.socket; }

  struct Stream {
    Ticket call;
    std::uint32_t position = 0;
    std::uint32_t ready = 0;
    std::uint32_t given_back = 0;
  };
  std::optional<Stream> submit_stream(std::uint64_t payload);
  // Nothing: the stream has ended, and finish() must follow.
  std::optional<std::uint64_t> next_piece(Stream& stream);
  void finish(const Ticket& ticket);

 private:
  std::optional<std::uint32_t> claim();
  void collect_abandoned();
  Ticket publish(std::uint32_t slot, std::uint64_t payload, Kind kind);
  void ring_doorbell() { World::current().signal(shm_.doorbell); }
  template <typename W, typename Done>
  void sleep_until(const Ticket& ticket, const W& word, Done&& done);
  void give_back(Stream& stream);

  Regions& shm_;
  Mutex mutex_;
  std::array<std::uint64_t, kSlots> generations_{};
  std::array<bool, kSlots> free_{true, true};
  std::array<bool, kSlots> abandoned_{};
};

// The sidecar's end: shm/connection.cc.
class Connection {
 public:
  Connection(Regions& regions, Kind kind) : shm_(regions), kind_(kind) {}

  struct Taken {
    std::uint32_t slot = 0;
    std::uint64_t generation = 0;
    std::uint64_t payload = 0;
    bool room = true;  // or there is none for its reply
  };
  // The next request at or after *cursor; nothing: the sweep is over, or violated().
  std::optional<Taken> take(std::uint32_t* cursor);
  [[nodiscard]] bool violated() const { return violated_; }
  void set_asleep(bool asleep);
  void complete(const Taken& taken, std::uint64_t value);
  [[nodiscard]] bool cancelled(const Taken& taken) const;
  Regions& regions() { return shm_; }

  void open_stream(const Taken& taken);
  [[nodiscard]] bool write_piece(std::uint32_t slot, std::uint64_t piece);
  void publish_pieces(std::uint32_t slot);
  [[nodiscard]] bool park_stream(std::uint32_t slot);

  // The ledger: requests taken and answered.
  [[nodiscard]] bool all_answered() const { return taken_ == answered_; }
  [[nodiscard]] std::uint64_t answered() const { return answered_; }

 private:
  struct SlotState {
    explicit SlotState(int i) : busy("busy", i) {}
    std::uint64_t generation = 0;
    std::uint64_t answered = 0;
    Word<bool> busy;
    Data books{"the sidecar's books of a slot"};
    bool lent = false;
    std::uint32_t progress = 0;
    std::uint32_t written = 0;
    std::uint32_t consumed = 0;
    bool parked = false;
  };
  std::uint32_t ring_room(std::uint32_t slot);
  void wake(std::uint32_t slot, std::uint32_t how, bool streaming);
  bool lend(SlotState& state);

  Regions& shm_;
  Kind kind_;
  bool violated_ = false;
  bool arena_lent_ = false;
  std::uint64_t taken_ = 0;
  std::uint64_t answered_ = 0;
  std::array<SlotState, kSlots> slots_{SlotState(0), SlotState(1)};
};

}  // namespace nacelle::explorer
