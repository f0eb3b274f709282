// The protocol of shm/protocol.h in every order of steps within the bounds, as it is and with one
// thing broken at a time: the first must hold, and each of the others must be seen to fail.
//
// NACELLE_EXPLORER_DEEPER=N explores with N preemptions more, at most 6 in all. A failure prints
// its choices; NACELLE_EXPLORER_REPLAY=CHOICES with the same test alone shows that run again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <ostream>
#include <string>

#include "tests/explorer/planted.h"
#include "tests/explorer/programs.h"

namespace nacelle::explorer {
namespace {

using ::testing::IsEmpty;
using ::testing::TestWithParam;
using ::testing::ValuesIn;

Outcome explore(const Protocol& protocol) {
  Bounds bounds = protocol.bounds;
  if (const char* deeper = std::getenv("NACELLE_EXPLORER_DEEPER")) {
    bounds.preemptions += std::atoi(deeper);
  }
  World world(bounds);
  const char* choices = std::getenv("NACELLE_EXPLORER_REPLAY");
  Outcome outcome = choices == nullptr ? world.explore(protocol.program)
                                       : world.replay(protocol.program, choices);
  std::printf("%s: %d preemptions, %d crashes: %llu runs, %llu states%s%s\n", protocol.name,
              bounds.preemptions, bounds.crashes, static_cast<unsigned long long>(outcome.runs),
              static_cast<unsigned long long>(outcome.states), outcome.failure.empty() ? "" : ": ",
              outcome.failure.c_str());
  if (choices != nullptr) std::printf("%s", outcome.trace.c_str());
  return outcome;
}

class RightProtocol : public TestWithParam<Protocol> {};

TEST_P(RightProtocol, HoldsInEveryOrder) {
  planted = {};
  const Outcome outcome = explore(GetParam());
  EXPECT_THAT(outcome.failure, IsEmpty()) << "choices: " << outcome.choices << "\n"
                                          << outcome.trace;
}

INSTANTIATE_TEST_SUITE_P(All, RightProtocol, ValuesIn(protocols().begin(), protocols().end()),
                         [](const auto& test) { return std::string(test.param.name); });

// One thing that is broken: an order weaker than it should be, a check left out, or steps in the
// wrong order.
struct Mutant {
  Mutant(const char* called, const char* shown_by, std::memory_order Planting::*order,
         std::memory_order weaker)
      : name(called), program(shown_by) {
    planting.*order = weaker;
  }
  Mutant(const char* called, const char* shown_by, bool Planting::*check)
      : name(called), program(shown_by) {
    planting.*check = false;
  }
  Mutant(const char* called, const char* shown_by, Bug bug) : name(called), program(shown_by) {
    planting.bug = bug;
  }
  friend std::ostream& operator<<(std::ostream& out, const Mutant& mutant) {
    return out << mutant.name;
  }
  const char* name;
  const char* program;
  Planting planting;
};

constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr auto kAcquire = std::memory_order_acquire;
constexpr auto kRelease = std::memory_order_release;

// Left out, since nothing that they break can be seen; the product is a little stronger there than
// it must be, which costs nothing on x86:
//   look_again = acquire   where the caller sleeps: it has just loaded its word with seq_cst
//   released = acquire     no flag stands against that word
//   answer = release       at a stream's end: its reader sleeps on `progress`
//   busy_on, busy_off = relaxed, with an honest client: its next request comes after the answer
const Mutant kMutants[] = {
    // Barriers dropped.
    {"publish_release", "calls", &Planting::publish, kRelease},
    {"publish_relaxed", "reuse", &Planting::publish, kRelaxed},
    {"read_asleep_acquire", "calls", &Planting::read_asleep, kAcquire},
    {"raise_asleep_release", "calls", &Planting::raise_asleep, kRelease},
    {"look_acquire", "calls", &Planting::look, kAcquire},
    {"look_relaxed", "calls", &Planting::look, kRelaxed},
    {"answer_release", "calls", &Planting::answer, kRelease},
    {"answer_relaxed", "calls", &Planting::answer, kRelaxed},
    {"read_waiting_acquire", "calls", &Planting::read_waiting, kAcquire},
    {"raise_waiting_release", "calls", &Planting::raise_waiting, kRelease},
    {"look_again_relaxed", "calls", &Planting::look_again, kRelaxed},
    {"look_again_acquire", "polling", &Planting::look_again, kAcquire},
    {"replied_relaxed", "calls", &Planting::replied, kRelaxed},
    {"release_relaxed", "arena", &Planting::release, kRelaxed},
    {"released_relaxed", "arena", &Planting::released, kRelaxed},
    {"busy_off_relaxed", "liar", &Planting::busy_off, kRelaxed},
    {"busy_on_relaxed", "liar", &Planting::busy_on, kRelaxed},
    {"produce_relaxed", "stream", &Planting::produce, kRelaxed},
    {"produced_relaxed", "stream", &Planting::produced, kRelaxed},
    {"progress_release", "stream", &Planting::progress, kRelease},
    {"consume_release", "stream", &Planting::consume, kRelease},
    {"consume_relaxed", "stream", &Planting::consume, kRelaxed},
    {"consumed_acquire", "stream", &Planting::consumed, kAcquire},
    {"consumed_relaxed", "stream", &Planting::consumed, kRelaxed},
    {"raise_stalled_release", "stream", &Planting::raise_stalled, kRelease},
    {"read_stalled_acquire", "stream", &Planting::read_stalled, kAcquire},
    // Checks dropped.
    {"no_generation_check", "liar", &Planting::check_generation},
    {"no_busy_check", "liar", &Planting::check_busy},
    {"no_generation_compare", "reuse", Bug::kDoesNotCompareTheGeneration},
    {"any_cancel", "cancel", Bug::kTakesAnyCancelForItsOwn},
    // Steps in the wrong order, or left out: the client's.
    {"publish_before_payload", "calls", Bug::kPublishesBeforeThePayload},
    {"asleep_before_publish", "calls", Bug::kReadsAsleepBeforeItPublishes},
    {"word_read_too_late", "calls", Bug::kSleepsOnAWordReadTooLate},
    {"waiting_not_raised", "calls", Bug::kSleepsWithoutRaisingWaiting},
    {"release_before_read", "arena", Bug::kReleasesBeforeReading},
    {"slot_freed_before_read", "calls", Bug::kFreesTheSlotBeforeReading},
    {"abandoned_slot_reused", "cancel", Bug::kReusesAnAbandonedSlotAtOnce},
    {"poll_without_second_look", "polling", Bug::kPollsWithoutLookingAgain},
    {"drain_at_every_look", "polling", Bug::kDrainsAtEveryLook},
    {"drain_after_looking", "polling", Bug::kDrainsAfterLooking},
    {"first_look_late", "polling", Bug::kLooksLate},
    {"stream_from_zero", "streams_again", Bug::kStartsAStreamAtZero},
    {"no_last_look_for_pieces", "stream", Bug::kEndsWithoutALastLookForPieces},
    {"room_not_given_back", "stream", Bug::kSleepsWithoutGivingBack},
    {"room_given_before_read", "stream", Bug::kGivesBackBeforeReading},
    // And the sidecar's.
    {"no_second_sweep", "calls", Bug::kSleepsWithoutASecondSweep},
    {"second_sweep_too_early", "calls", Bug::kSweepsBeforeRaisingAsleep},
    {"busy_cleared_late", "crash_again", Bug::kClearsBusyAfterTheAnswer},
    {"answer_before_payload", "calls", Bug::kAnswersBeforeThePayload},
    {"waiting_before_answer", "calls", Bug::kReadsWaitingBeforeItAnswers},
    {"no_wake", "calls", Bug::kForgetsToWake},
    {"lent_before_released", "arena", Bug::kLendsWithoutLookingAtReleased},
    {"park_without_second_look", "stream", Bug::kParksWithoutASecondLook},
    {"end_without_progress", "stream", Bug::kEndsAStreamWithoutProgress},
    {"stream_wakes_generation", "stream", Bug::kWakesStreamsOnTheGeneration},
    {"piece_before_bytes", "stream", Bug::kPublishesAPieceBeforeWritingIt},
    {"dead_clients_memory_lent", "crash", Bug::kLendsADeadClientsMemory},
    {"dead_clients_request_lost", "crash", Bug::kForgetsARequestOfADeadClient},
    {"answered_twice", "calls", Bug::kAnswersTwice},
};

class BrokenProtocol : public TestWithParam<Mutant> {};

TEST_P(BrokenProtocol, IsNoticed) {
  planted = GetParam().planting;
  const Outcome outcome = explore(protocol_named(GetParam().program));
  planted = {};
  EXPECT_FALSE(outcome.failure.empty()) << GetParam().name << " went unnoticed";
}

INSTANTIATE_TEST_SUITE_P(All, BrokenProtocol, ValuesIn(kMutants),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace nacelle::explorer
