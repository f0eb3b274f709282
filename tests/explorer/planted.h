// What can be broken in the protocol, to see that the explorer notices: the orders and checks of
// shm/protocol.h, and the steps that stand around them in link.cc, connection.cc, reception.cc and
// streamer.cc, which sides.h mirrors.
#pragma once

#include <atomic>

#include "shm/protocol.h"

namespace nacelle::explorer {

// Mistakes in the order of steps, one at a time.
enum class Bug {
  kNone,
  // The client.
  kPublishesBeforeThePayload,
  kReadsAsleepBeforeItPublishes,
  kDoesNotCompareTheGeneration,
  kSleepsOnAWordReadTooLate,
  kSleepsWithoutRaisingWaiting,
  kReleasesBeforeReading,
  kFreesTheSlotBeforeReading,
  kReusesAnAbandonedSlotAtOnce,
  kPollsWithoutLookingAgain,
  kDrainsAtEveryLook,
  kDrainsAfterLooking,
  kLooksLate,
  kStartsAStreamAtZero,
  kEndsWithoutALastLookForPieces,
  kSleepsWithoutGivingBack,
  kGivesBackBeforeReading,
  // The sidecar.
  kSleepsWithoutASecondSweep,
  kSweepsBeforeRaisingAsleep,
  kClearsBusyAfterTheAnswer,
  kAnswersBeforeThePayload,
  kReadsWaitingBeforeItAnswers,
  kForgetsToWake,
  kTakesAnyCancelForItsOwn,
  kLendsWithoutLookingAtReleased,
  kParksWithoutASecondLook,
  kEndsAStreamWithoutProgress,
  kWakesStreamsOnTheGeneration,
  kPublishesAPieceBeforeWritingIt,
  kLendsADeadClientsMemory,
  kForgetsARequestOfADeadClient,
  kAnswersTwice,
};

struct Planting {
  using Order = std::memory_order;
  using Rules = shm::protocol::Rules;
  Order publish = Rules::kPublish;
  Order read_asleep = Rules::kReadAsleep;
  Order raise_asleep = Rules::kRaiseAsleep;
  Order look = Rules::kLook;
  Order answer = Rules::kAnswer;
  Order read_waiting = Rules::kReadWaiting;
  Order raise_waiting = Rules::kRaiseWaiting;
  Order look_again = Rules::kLookAgain;
  Order replied = Rules::kReplied;
  Order release = Rules::kRelease;
  Order released = Rules::kReleased;
  Order busy_off = Rules::kBusyOff;
  Order busy_on = Rules::kBusyOn;
  Order produce = Rules::kProduce;
  Order produced = Rules::kProduced;
  Order progress = Rules::kProgress;
  Order consume = Rules::kConsume;
  Order consumed = Rules::kConsumed;
  Order raise_stalled = Rules::kRaiseStalled;
  Order read_stalled = Rules::kReadStalled;
  bool check_generation = Rules::kCheckGeneration;
  bool check_busy = Rules::kCheckBusy;
  Bug bug = Bug::kNone;
};

// What holds now. Set before a program is explored.
inline Planting planted;

inline bool has(Bug bug) { return planted.bug == bug; }

// The Rules of the explored protocol: the product's, but for what is planted.
struct Planted {
  using Order = const std::memory_order&;
  static constexpr Order kPublish = planted.publish;
  static constexpr Order kReadAsleep = planted.read_asleep;
  static constexpr Order kRaiseAsleep = planted.raise_asleep;
  static constexpr Order kLook = planted.look;
  static constexpr Order kAnswer = planted.answer;
  static constexpr Order kReadWaiting = planted.read_waiting;
  static constexpr Order kRaiseWaiting = planted.raise_waiting;
  static constexpr Order kLookAgain = planted.look_again;
  static constexpr Order kReplied = planted.replied;
  static constexpr Order kRelease = planted.release;
  static constexpr Order kReleased = planted.released;
  static constexpr Order kBusyOff = planted.busy_off;
  static constexpr Order kBusyOn = planted.busy_on;
  static constexpr Order kProduce = planted.produce;
  static constexpr Order kProduced = planted.produced;
  static constexpr Order kProgress = planted.progress;
  static constexpr Order kConsume = planted.consume;
  static constexpr Order kConsumed = planted.consumed;
  static constexpr Order kRaiseStalled = planted.raise_stalled;
  static constexpr Order kReadStalled = planted.read_stalled;
  static constexpr const bool& kCheckGeneration = planted.check_generation;
  static constexpr const bool& kCheckBusy = planted.check_busy;
};

}  // namespace nacelle::explorer
