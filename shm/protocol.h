// The steps that two processes take on the words they share, one function per step.
//
// Everything that decides whether a call can hang, be answered twice or get another call's answer
// is in the order and the memory orders of these few lines. They are templates over the kind of
// word: connection.cc and link.cc run them on std::atomic in shared memory, tests/explorer on words
// that remember every value another thread may still see. Rules holds the orders and checks, so
// that a test can take one away and see that the explorer notices.
//
// A slot's life, with who stores what (C: the client, S: the sidecar):
//
//   C  payload, fields; request.generation = g        publish()
//   S  sees g = its own + 1, copies, computes         look()
//   S  reply fields, payload; reply.generation = g    answer()
//   C  reads, request.released = g                    release()
//
// and two sleeps, each a flag that the sleeper raises before it looks once more, and that the waker
// reads after it has stored (Dekker's argument: both loads cannot miss both stores, because all
// four are sequentially consistent):
//
//   C  request.waiting    the client sleeps or polls   raise_waiting(), answer()
//   S  header.asleep      the sidecar sleeps           raise_asleep(), publish()
//
// A stream adds a ring between the two generations: produced (S) and consumed (C) count bytes and
// never go back; `stalled` is a third flag of the same kind, raised by the sidecar before it parks
// a stream whose ring is full.
#pragma once

#include <atomic>
#include <cstdint>

namespace nacelle::shm {

// How a client waits for a reply: the word `waiting` of a request slot.
inline constexpr std::uint32_t kWaitsNot = 0;
inline constexpr std::uint32_t kWaitsAsleep = 1;   // in the kernel: needs a futex wake
inline constexpr std::uint32_t kWaitsPolling = 2;  // in a poll of the socket: needs a byte there

namespace protocol {

struct Rules {
  static constexpr auto kPublish = std::memory_order_seq_cst;      // release for the fields
  static constexpr auto kReadAsleep = std::memory_order_seq_cst;   //
  static constexpr auto kRaiseAsleep = std::memory_order_seq_cst;  //
  static constexpr auto kLook = std::memory_order_seq_cst;         // acquire for the fields
  static constexpr auto kAnswer = std::memory_order_seq_cst;       // release for the reply
  static constexpr auto kReadWaiting = std::memory_order_seq_cst;
  static constexpr auto kRaiseWaiting = std::memory_order_seq_cst;
  static constexpr auto kLookAgain = std::memory_order_seq_cst;  // acquire for the reply
  static constexpr auto kReplied = std::memory_order_acquire;
  static constexpr auto kRelease = std::memory_order_release;  // the reply was read before
  static constexpr auto kReleased = std::memory_order_seq_cst;
  static constexpr auto kBusyOff = std::memory_order_release;
  static constexpr auto kBusyOn = std::memory_order_acquire;
  static constexpr auto kProduce = std::memory_order_release;  // the pieces were written before
  static constexpr auto kProduced = std::memory_order_acquire;
  static constexpr auto kProgress = std::memory_order_seq_cst;
  static constexpr auto kConsume = std::memory_order_seq_cst;  // release: the pieces were read
  static constexpr auto kConsumed = std::memory_order_seq_cst;
  static constexpr auto kRaiseStalled = std::memory_order_seq_cst;
  static constexpr auto kReadStalled = std::memory_order_seq_cst;

  static constexpr bool kCheckGeneration = true;  // exactly one more than the last one
  static constexpr bool kCheckBusy = true;        // not before the last one was answered
};

// --- the client ---

// Makes a request visible. True when the sidecar may be asleep: then ring its doorbell.
template <typename R = Rules, typename Generation, typename Asleep>
[[nodiscard]] bool publish(Generation& request_generation, std::uint64_t generation,
                           const Asleep& asleep) {
  request_generation.store(generation, R::kPublish);
  return asleep.load(R::kReadAsleep) != 0;
}

// Whether the reply is there; then its fields and payload are, too.
template <typename R = Rules, typename Generation>
[[nodiscard]] bool replied(const Generation& reply_generation, std::uint64_t generation) {
  return reply_generation.load(R::kReplied) == generation;
}

// Before sleeping or polling. replied_again() must follow: only when that is false may one wait.
template <typename R = Rules, typename Waiting>
void raise_waiting(Waiting& waiting, std::uint32_t how) {
  waiting.store(how, R::kRaiseWaiting);
}
template <typename R = Rules, typename Generation>
[[nodiscard]] bool replied_again(const Generation& reply_generation, std::uint64_t generation) {
  return reply_generation.load(R::kLookAgain) == generation;
}

// The reply has been read: its memory may be lent to another.
template <typename R = Rules, typename Released>
void release(Released& released, std::uint64_t generation) {
  released.store(generation, R::kRelease);
}

// --- the sidecar ---

enum class Look {
  kNothing,   // no new request
  kRequest,   // one: copy it
  kSkipped,   // the generation is not the next one: a lie
  kTooEarly,  // published again before its reply: a lie
};

// Looks at a slot whose last generation was `last`; `busy` is the sidecar's own word, set from the
// request until its reply.
template <typename R = Rules, typename Generation, typename Busy>
[[nodiscard]] Look look(const Generation& request_generation, std::uint64_t last, const Busy& busy,
                        std::uint64_t* generation) {
  *generation = request_generation.load(R::kLook);
  if (*generation == last) return Look::kNothing;
  if (R::kCheckGeneration && *generation != last + 1) return Look::kSkipped;
  if (R::kCheckBusy && busy.load(R::kBusyOn)) return Look::kTooEarly;
  return Look::kRequest;
}

// Makes a reply visible and says how the client waits for it. `busy` is cleared first, since the
// client may publish the slot's next request the moment it sees the generation.
template <typename R = Rules, typename Busy, typename Generation, typename Waiting>
[[nodiscard]] std::uint32_t answer(Busy& busy, Generation& reply_generation,
                                   std::uint64_t generation, const Waiting& waiting) {
  busy.store(false, R::kBusyOff);
  reply_generation.store(generation, R::kAnswer);
  return waiting.load(R::kReadWaiting);
}

// The same at the end of a stream, whose reader sleeps on `progress`.
template <typename R = Rules, typename Busy, typename Generation, typename Progress,
          typename Waiting>
[[nodiscard]] std::uint32_t answer_stream(Busy& busy, Generation& reply_generation,
                                          std::uint64_t generation, Progress& progress,
                                          std::uint32_t next_progress, const Waiting& waiting) {
  busy.store(false, R::kBusyOff);
  reply_generation.store(generation, R::kAnswer);
  progress.store(next_progress, R::kProgress);
  return waiting.load(R::kReadWaiting);
}

// Before sleeping: a sweep over all slots must follow.
template <typename R = Rules, typename Asleep>
void raise_asleep(Asleep& asleep) {
  asleep.store(1, R::kRaiseAsleep);
}

// --- streams ---

// The sidecar: makes the pieces up to `total` bytes visible and says how the reader waits.
template <typename R = Rules, typename Produced, typename Progress, typename Waiting>
[[nodiscard]] std::uint32_t produce(Produced& produced, std::uint32_t total, Progress& progress,
                                    std::uint32_t next_progress, const Waiting& waiting) {
  produced.store(total, R::kProduce);
  progress.store(next_progress, R::kProgress);
  return waiting.load(R::kReadWaiting);
}

// The sidecar, before it parks a stream: another look at `consumed` must follow.
template <typename R = Rules, typename Stalled>
void raise_stalled(Stalled& stalled) {
  stalled.store(1, R::kRaiseStalled);
}

// The client: gives the room up to `total` bytes back. True when the sidecar may have parked the
// stream for want of it: then ring its doorbell.
template <typename R = Rules, typename Consumed, typename Stalled>
[[nodiscard]] bool consume(Consumed& consumed, std::uint32_t total, const Stalled& stalled) {
  consumed.store(total, R::kConsume);
  return stalled.load(R::kReadStalled) != 0;
}

}  // namespace protocol
}  // namespace nacelle::shm
