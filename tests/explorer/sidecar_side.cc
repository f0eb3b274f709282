// The sidecar's end: after shm/connection.cc.
#include "tests/explorer/sides.h"

namespace nacelle::explorer {
namespace {

namespace protocol = shm::protocol;
using R = Planted;
constexpr auto kRelaxed = std::memory_order_relaxed;

}  // namespace

// Connection::take, and Connection::reserve for replies that lie in the arena. Loads of the
// client's words are seq_cst in Untrusted; here they have the order that protocol.h asks for.
std::optional<Connection::Taken> Connection::take(std::uint32_t* cursor) {
  const std::uint32_t used = shm_.slots_used.load(std::memory_order_seq_cst);
  for (; *cursor < used; ++*cursor) {
    const std::uint32_t slot = *cursor;
    SlotState& state = slots_[slot];
    std::uint64_t generation = 0;
    const protocol::Look look =
        protocol::look<R>(shm_.slots[slot].generation, state.generation, state.busy, &generation);
    if (look == protocol::Look::kNothing) continue;
    if (look != protocol::Look::kRequest) {
      violated_ = true;
      return std::nullopt;
    }
    World::current().check(generation == state.generation + 1, "a generation was skipped");
    Taken taken{.slot = slot, .generation = generation, .payload = shm_.slots[slot].payload.read()};
    state.books.write(generation);
    state.generation = generation;
    if (state.lent) arena_lent_ = state.lent = false;
    state.busy.store(true, kRelaxed);
    ++taken_;
    if (kind_ == Kind::kArena) taken.room = lend(state);
    ++*cursor;
    return taken;
  }
  return std::nullopt;
}

// Connection::lend, Connection::collect_released.
bool Connection::lend(SlotState& state) {
  if (arena_lent_) {
    for (std::uint32_t i = 0; i < kSlots; ++i) {
      SlotState& other = slots_[i];
      if (!other.lent || other.busy.load(R::kBusyOn)) continue;
      const bool released = shm_.slots[i].released.load(R::kReleased) == other.generation ||
                            has(Bug::kLendsWithoutLookingAtReleased);
      if (!released) continue;
      other.books.write(0);
      arena_lent_ = other.lent = false;
    }
  }
  if (arena_lent_) return false;
  arena_lent_ = state.lent = true;
  return true;
}

void Connection::set_asleep(bool asleep) {
  if (asleep) {
    protocol::raise_asleep<R>(shm_.asleep);
  } else {
    shm_.asleep.store(0, kRelaxed);
  }
}

// Connection::complete, and the wake that its callers owe.
void Connection::complete(const Taken& taken, std::uint64_t value) {
  SlotState& state = slots_[taken.slot];
  Regions::Slot& s = shm_.slots[taken.slot];
  World::current().check(state.answered < taken.generation, "a request was answered twice");
  state.answered = taken.generation;
  ++answered_;
  const bool late = has(Bug::kAnswersBeforeThePayload);
  const auto write = [&] {
    if (kind_ == Kind::kArena && value != kRefused) shm_.arena.write(value);
    s.reply.write(value);
  };
  if (!late) write();
  state.books.read();
  const bool streaming = kind_ == Kind::kStream;
  std::uint32_t how = shm::kWaitsNot;
  if (has(Bug::kClearsBusyAfterTheAnswer)) {
    s.reply_generation.store(taken.generation, R::kAnswer);
    state.busy.store(false, R::kBusyOff);
    how = s.waiting.load(R::kReadWaiting);
  } else if (has(Bug::kReadsWaitingBeforeItAnswers)) {
    how = s.waiting.load(R::kReadWaiting);
    state.busy.store(false, R::kBusyOff);
    s.reply_generation.store(taken.generation, R::kAnswer);
  } else if (streaming && has(Bug::kEndsAStreamWithoutProgress)) {
    how = protocol::answer<R>(state.busy, s.reply_generation, taken.generation, s.waiting);
  } else if (streaming) {
    how = protocol::answer_stream<R>(state.busy, s.reply_generation, taken.generation, s.progress,
                                     ++state.progress, s.waiting);
  } else {
    how = protocol::answer<R>(state.busy, s.reply_generation, taken.generation, s.waiting);
  }
  if (late) write();
  wake(taken.slot, how, streaming && !has(Bug::kWakesStreamsOnTheGeneration));
}

// Connection::wake.
void Connection::wake(std::uint32_t slot, std::uint32_t how, bool streaming) {
  if (how == shm::kWaitsNot || has(Bug::kForgetsToWake)) return;
  Regions::Slot& s = shm_.slots[slot];
  if (how == shm::kWaitsPolling) {
    World::current().signal(shm_.socket);
  } else if (streaming) {
    s.progress.futex_wake();
  } else {
    s.reply_generation.futex_wake();
  }
}

// Connection::cancelled.
bool Connection::cancelled(const Taken& taken) const {
  const std::uint32_t word = shm_.slots[taken.slot].cancel.load(std::memory_order_seq_cst);
  if (has(Bug::kTakesAnyCancelForItsOwn)) return word != 0;
  return word != 0 && word == static_cast<std::uint32_t>(taken.generation);
}

// Connection::open_stream.
void Connection::open_stream(const Taken& taken) {
  SlotState& state = slots_[taken.slot];
  state.written = state.consumed = shm_.slots[taken.slot].produced.load(kRelaxed);
  state.parked = false;
  shm_.slots[taken.slot].stalled.store(0, kRelaxed);
}

// Connection::ring_room.
std::uint32_t Connection::ring_room(std::uint32_t slot) {
  SlotState& state = slots_[slot];
  const std::uint32_t said = shm_.slots[slot].consumed.load(R::kConsumed);
  if (said - state.consumed <= state.written - state.consumed) state.consumed = said;
  return kRing - (state.written - state.consumed);
}

// Connection::write_piece.
bool Connection::write_piece(std::uint32_t slot, std::uint64_t piece) {
  SlotState& state = slots_[slot];
  if (kRing - (state.written - state.consumed) == 0 && ring_room(slot) == 0) return false;
  if (state.parked) {
    state.parked = false;
    shm_.slots[slot].stalled.store(0, kRelaxed);
  }
  const std::uint32_t at = state.written++ % kRing;
  if (has(Bug::kPublishesAPieceBeforeWritingIt)) publish_pieces(slot);
  shm_.slots[slot].ring[at].write(piece);
  return true;
}

// Connection::publish_pieces.
void Connection::publish_pieces(std::uint32_t slot) {
  SlotState& state = slots_[slot];
  Regions::Slot& s = shm_.slots[slot];
  const std::uint32_t how =
      protocol::produce<R>(s.produced, state.written, s.progress, ++state.progress, s.waiting);
  wake(slot, how, !has(Bug::kWakesStreamsOnTheGeneration));
}

// Connection::park_stream.
bool Connection::park_stream(std::uint32_t slot) {
  SlotState& state = slots_[slot];
  protocol::raise_stalled<R>(shm_.slots[slot].stalled);
  state.parked = true;
  if (has(Bug::kParksWithoutASecondLook) || ring_room(slot) == 0) return true;
  state.parked = false;
  shm_.slots[slot].stalled.store(0, kRelaxed);
  return false;
}

}  // namespace nacelle::explorer
