// The client's end: after shm/link.cc and shm/link_stream.cc.
#include "tests/explorer/sides.h"

namespace nacelle::explorer {
namespace {

namespace protocol = shm::protocol;
using R = Planted;
constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr auto kSeqCst = std::memory_order_seq_cst;

}  // namespace

// Link::collect_abandoned. Under the mutex.
void Client::collect_abandoned() {
  for (std::uint32_t slot = 0; slot < kSlots; ++slot) {
    if (!abandoned_[slot]) continue;
    if (!has(Bug::kReusesAnAbandonedSlotAtOnce) && !replied({slot, generations_[slot]})) continue;
    abandoned_[slot] = false;
    protocol::release<R>(shm_.slots[slot].released, generations_[slot]);
    free_[slot] = true;
  }
}

// Link::claim.
std::optional<std::uint32_t> Client::claim() {
  mutex_.lock();
  collect_abandoned();
  std::optional<std::uint32_t> claimed;
  for (std::uint32_t slot = 0; slot < kSlots && !claimed; ++slot) {
    if (free_[slot]) claimed = slot;
  }
  if (claimed) free_[*claimed] = false;
  mutex_.unlock();
  return claimed;
}

// Link::publish.
Ticket Client::publish(std::uint32_t slot, std::uint64_t payload, Kind kind) {
  Regions::Slot& s = shm_.slots[slot];
  const bool late = has(Bug::kPublishesBeforeThePayload);
  if (!late) s.payload.write(payload);
  s.waiting.store(shm::kWaitsNot, kRelaxed);
  std::uint32_t seen = shm_.slots_used.load(kRelaxed);
  while (seen <= slot && !shm_.slots_used.compare_exchange_weak(seen, slot + 1, kSeqCst)) {
  }
  const std::uint64_t generation = ++generations_[slot];
  bool asleep = false;
  if (has(Bug::kReadsAsleepBeforeItPublishes)) {
    asleep = shm_.asleep.load(R::kReadAsleep) != 0;
    s.generation.store(generation, R::kPublish);
  } else {
    asleep = protocol::publish<R>(s.generation, generation, shm_.asleep);
  }
  if (asleep) ring_doorbell();
  if (late) s.payload.write(payload);
  return {slot, generation, kind};
}

std::optional<Ticket> Client::submit(std::uint64_t payload, Kind kind) {
  const std::optional<std::uint32_t> slot = claim();
  if (!slot) return std::nullopt;
  return publish(*slot, payload, kind);
}

// Link::replied.
bool Client::replied(const Ticket& ticket) const {
  const Word<std::uint64_t>& generation = shm_.slots[ticket.slot].reply_generation;
  if (has(Bug::kDoesNotCompareTheGeneration)) return generation.load(R::kReplied) != 0;
  return protocol::replied<R>(generation, ticket.generation);
}

// Link::sleep_until, without its deadline and without time-outs.
template <typename W, typename Done>
void Client::sleep_until(const Ticket& ticket, const W& word, Done&& done) {
  Regions::Slot& s = shm_.slots[ticket.slot];
  if (!has(Bug::kSleepsWithoutRaisingWaiting)) {
    protocol::raise_waiting<R>(s.waiting, shm::kWaitsAsleep);
  }
  for (;;) {
    std::uint32_t before = 0;
    const bool late = has(Bug::kSleepsOnAWordReadTooLate);
    if (!late) before = word.load(kSeqCst);
    if (done()) {
      s.waiting.store(shm::kWaitsNot, kRelaxed);
      return;
    }
    if (late) before = word.load(kSeqCst);
    word.futex_wait(before);
  }
}

// Link::wait, Link::finish. One look stands for the spinning.
std::uint64_t Client::wait(const Ticket& ticket) {
  if (!replied(ticket)) {
    const Word<std::uint64_t>& generation = shm_.slots[ticket.slot].reply_generation;
    sleep_until(ticket, LowHalf{generation},
                [&] { return protocol::replied_again<R>(generation, ticket.generation); });
  }
  return read_and_finish(ticket);
}

std::uint64_t Client::read_and_finish(const Ticket& ticket) {
  if (has(Bug::kReleasesBeforeReading)) {
    protocol::release<R>(shm_.slots[ticket.slot].released, ticket.generation);
  }
  if (has(Bug::kFreesTheSlotBeforeReading)) {
    finish(ticket);
    return shm_.slots[ticket.slot].reply.read();
  }
  std::uint64_t value = shm_.slots[ticket.slot].reply.read();
  // A reply that is too long for the slot says so, and lies in the arena.
  if (ticket.kind == Kind::kArena && value != kRefused) value = shm_.arena.read();
  finish(ticket);
  return value;
}

void Client::finish(const Ticket& ticket) {
  if (!has(Bug::kReleasesBeforeReading)) {
    protocol::release<R>(shm_.slots[ticket.slot].released, ticket.generation);
  }
  mutex_.lock();
  free_[ticket.slot] = true;
  mutex_.unlock();
}

// Link::cancel, Link::abandon.
void Client::cancel(const Ticket& ticket) {
  shm_.slots[ticket.slot].cancel.store(static_cast<std::uint32_t>(ticket.generation),
                                       std::memory_order_release);
  mutex_.lock();
  abandoned_[ticket.slot] = true;
  mutex_.unlock();
}

// Link::poll.
bool Client::poll(const Ticket& ticket) {
  Regions::Slot& s = shm_.slots[ticket.slot];
  protocol::raise_waiting<R>(s.waiting, shm::kWaitsPolling);
  if (has(Bug::kPollsWithoutLookingAgain)) return false;
  return protocol::replied_again<R>(s.reply_generation, ticket.generation);
}

// Link::publish_stream.
std::optional<Client::Stream> Client::submit_stream(std::uint64_t payload) {
  const std::optional<std::uint32_t> slot = claim();
  if (!slot) return std::nullopt;
  Stream stream;
  stream.position = shm_.slots[*slot].produced.load(kRelaxed);
  if (has(Bug::kStartsAStreamAtZero)) stream.position = 0;
  stream.ready = stream.given_back = stream.position;
  shm_.slots[*slot].consumed.store(stream.position, kRelaxed);
  stream.call = publish(*slot, payload, Kind::kStream);
  return stream;
}

// Link::next_piece and Link::read_piece; a piece is half a ring, and room is given back a quarter
// of a ring at a time, which is less than that: for every piece.
std::optional<std::uint64_t> Client::next_piece(Stream& stream) {
  Regions::Slot& s = shm_.slots[stream.call.slot];
  const auto more = [&] {
    stream.ready = s.produced.load(R::kProduced);
    return stream.ready != stream.position;
  };
  if (stream.ready == stream.position && !more()) {
    if (!has(Bug::kSleepsWithoutGivingBack)) give_back(stream);
    if (!more() && !replied(stream.call)) {
      sleep_until(stream.call, s.progress, [&] {
        stream.ready = s.produced.load(kSeqCst);
        return stream.ready != stream.position ||
               protocol::replied_again<R>(s.reply_generation, stream.call.generation);
      });
    }
    if (stream.ready == stream.position && (has(Bug::kEndsWithoutALastLookForPieces) || !more())) {
      return std::nullopt;
    }
  }
  if (stream.position != stream.given_back && !has(Bug::kSleepsWithoutGivingBack)) {
    give_back(stream);
  }
  const std::uint32_t at = stream.position++ % kRing;
  if (has(Bug::kGivesBackBeforeReading)) give_back(stream);
  return s.ring[at].read();
}

// Link::give_back.
void Client::give_back(Stream& stream) {
  if (stream.given_back == stream.position) return;
  stream.given_back = stream.position;
  Regions::Slot& s = shm_.slots[stream.call.slot];
  if (protocol::consume<R>(s.consumed, stream.position, s.stalled)) ring_doorbell();
}

}  // namespace nacelle::explorer
