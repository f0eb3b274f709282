// Hostile scenarios, part 1: the words that say which requests there are. Where other rings have a
// head, ours has `slots_used` and a generation per slot; their tail is our replies' generations,
// which a client cannot even map for writing.
#include <fcntl.h>
#include <sys/mman.h>

#include <atomic>
#include <cerrno>
#include <thread>

#include "tests/hostile/scenario.h"

namespace nacelle::testing {
namespace {

using base::Code;
using shm::Op;
using shm::Violation;

constexpr std::uint32_t k2To31 = 1U << 31;
constexpr std::string_view kHeld = "\x01 is held in the model";

void use_slots(Attack& a, std::uint32_t count) {
  a.client().header().slots_used.store(count);
  a.client().ring();
}

// Has one request answered in `slot`, then stores `generation`.
void set_generation(Attack& a, std::uint64_t generation) {
  const std::uint32_t slot = a.slot();
  CHECK(a.client().await(slot, a.client().ask(slot, Op::kPing, "once")));
  a.client().slot(slot).generation.store(generation);
  a.client().ring();
}

// Every legal and illegal value of a word that is 32 bits wide, around `generation`.
std::vector<std::uint64_t> values_around(Attack& a, std::uint64_t generation) {
  return {0,
          1,
          generation - 1,
          generation,
          generation + 1,
          k2To31,
          UINT32_MAX,
          1ULL << 32,
          UINT64_MAX,
          a.random(),
          a.any32(),
          generation | (1ULL << 32)};
}

// Sets a word to each value before a request, while it is in flight and after its reply. The
// values that mean something for the request itself (`meant`) are left out.
template <typename Store>
void at_each_time(Attack& a, Store&& store, bool skip_own_generation) {
  const RawClient& client = a.client();
  const std::uint32_t slot = a.slot();
  for (const std::uint64_t value : values_around(a, 1)) {
    if (skip_own_generation && static_cast<std::uint32_t>(value) == 1) continue;
    store(client.slot(slot), value);
  }
  {
    const Hold hold;
    const std::uint64_t generation =
        client.ask(slot, Op::kEmbed, text_list({std::string(kHeld)}), 1);
    a.await_in_flight(1);
    for (const std::uint64_t value : values_around(a, generation)) {
      if (skip_own_generation && static_cast<std::uint32_t>(value) == generation) continue;
      store(client.slot(slot), value);
    }
  }
  a.check(client.await(slot, 1) && client.code(slot) == Code::kOk, "the held request is answered");
  for (const std::uint64_t value : values_around(a, 1)) {
    store(client.slot(slot), value);
    const std::uint32_t other = (slot + 1) % (client.slots() - 1);
    a.check(client.await(other, client.ask(other, Op::kPing, "between")), "others are answered");
  }
}

const Scenario kScenarios[] = {
    {"SlotsUsedIsOneTooMany", disconnected(Violation::kSlotsUsed),
     [](Attack& a) { use_slots(a, a.client().slots() + 1); }},
    {"SlotsUsedIsTwiceTheRing", disconnected(Violation::kSlotsUsed),
     [](Attack& a) { use_slots(a, a.client().slots() * 2); }},
    {"SlotsUsedIs2To31", disconnected(Violation::kSlotsUsed),
     [](Attack& a) { use_slots(a, k2To31); }},
    {"SlotsUsedIsTheLargestNumber", disconnected(Violation::kSlotsUsed),
     [](Attack& a) { use_slots(a, UINT32_MAX); }},
    {"SlotsUsedIsAnyNumberTooLarge", disconnected(Violation::kSlotsUsed),
     [](Attack& a) {
       const std::uint32_t slots = a.client().slots();
       use_slots(a, slots + 1 + a.below(UINT32_MAX - slots));
     }},
    {"SlotsUsedGoesBackwards", harmless(),
     [](Attack& a) {
       a.ask(Op::kPing, "once");
       use_slots(a, 0);
     }},
    {"SlotsUsedOscillatesInside", harmless(),
     [](Attack& a) {
       for (int i = 0; i < 20'000; ++i) use_slots(a, a.below(a.client().slots() + 1));
     }},
    {"SlotsUsedOscillatesOutside", disconnected(Violation::kSlotsUsed),
     [](Attack& a) {
       CHECK(eventually([&] {
         use_slots(a, UINT32_MAX);
         std::this_thread::yield();
         use_slots(a, 0);
         return a.client().hung_up();
       }));
     }},

    {"AGenerationIsSkipped", disconnected(Violation::kGeneration),
     [](Attack& a) { set_generation(a, 3); }},
    {"AGenerationJumpsByTheRing", disconnected(Violation::kGeneration),
     [](Attack& a) { set_generation(a, 1 + a.client().slots()); }},
    {"AGenerationIs2To31", disconnected(Violation::kGeneration),
     [](Attack& a) { set_generation(a, k2To31); }},
    {"AGenerationIs2To32Minus1", disconnected(Violation::kGeneration),
     [](Attack& a) { set_generation(a, UINT32_MAX); }},
    // Its low half is the next generation's: what a futex or `cancel` compares.
    {"AGenerationIsRightInItsLowHalfOnly", disconnected(Violation::kGeneration),
     [](Attack& a) { set_generation(a, (std::uint64_t{1 + a.below(UINT32_MAX)} << 32) | 2); }},
    {"AGenerationIs2To63", disconnected(Violation::kGeneration),
     [](Attack& a) { set_generation(a, 1ULL << 63); }},
    {"AGenerationIsTheLargestNumber", disconnected(Violation::kGeneration),
     [](Attack& a) { set_generation(a, UINT64_MAX); }},
    {"AGenerationGoesBackwards", disconnected(Violation::kGeneration),
     [](Attack& a) { set_generation(a, 0); }},
    {"AGenerationIsPlayedAgain", disconnected(Violation::kGeneration),
     [](Attack& a) {
       const std::uint32_t slot = a.slot();
       const std::uint32_t rounds = 2 + a.below(20);
       for (std::uint32_t i = 0; i < rounds; ++i) {
         CHECK(a.client().await(slot, a.client().ask(slot, Op::kPing, "again")));
       }
       a.client().slot(slot).generation.store(1 + a.below(rounds - 1));
       a.client().ring();
     }},
    {"AnyGenerationButTheNext", disconnected(Violation::kGeneration),
     [](Attack& a) { set_generation(a, 3 + a.random() % (UINT64_MAX - 3)); }},
    {"NoiseInAllSlots", disconnected_somehow(),
     [](Attack& a) {
       const RawClient& client = a.client();
       const std::string noise = a.bytes(client.slots() * sizeof(shm::RequestSlot));
       std::memcpy(client.a() + client.table().request_slots_offset, noise.data(), noise.size());
       use_slots(a, client.slots());
     }},
    {"ASlotIsPublishedTwiceInFlight", disconnected(Violation::kBusySlot),
     [](Attack& a) {
       const Hold hold;
       const std::uint32_t slot = a.slot();
       a.client().ask(slot, Op::kEmbed, text_list({std::string(kHeld)}), 1);
       a.await_in_flight(1);
       a.client().publish(slot);
       CHECK(eventually([&] { return a.client().hung_up(); }));
     }},

    {"ReleasedIsAnyValueAtAnyTime", harmless(),
     [](Attack& a) {
       at_each_time(
           a, [](shm::RequestSlot& slot, std::uint64_t value) { slot.released.store(value); },
           false);
     }},
    {"WaitingIsAnyValueAtAnyTime", harmless(),
     [](Attack& a) {
       at_each_time(
           a,
           [](shm::RequestSlot& slot, std::uint64_t value) {
             slot.waiting.store(static_cast<std::uint32_t>(value));
           },
           false);
     }},
    {"CancelIsAnyOthersGenerationAtAnyTime", harmless(),
     [](Attack& a) {
       at_each_time(
           a,
           [](shm::RequestSlot& slot, std::uint64_t value) {
             slot.cancel.store(static_cast<std::uint32_t>(value));
           },
           true);
     }},
    {"ARequestIsCancelledBeforeItIsMade", answered(Code::kCancelled),
     [](Attack& a) {
       // The first one is held, so that the second is still in the queue when it is looked at.
       auto hold = std::make_unique<Hold>();
       const std::uint64_t held = a.client().ask(0, Op::kEmbed, text_list({std::string(kHeld)}), 1);
       a.await_in_flight(1);
       a.client().slot(1).cancel.store(1);
       const std::uint64_t second = a.client().ask(1, Op::kEmbed, text_list({"cancelled"}), 1);
       hold.reset();
       CHECK(a.client().await(0, held));
       a.expect_answer(1, second);
     }},
    {"CancelStorm", harmless(),
     [](Attack& a) {
       const RawClient& client = a.client();
       std::atomic<bool> over{false};
       std::thread storm([&client, &over] {
         for (std::uint32_t i = 0; !over; ++i) {
           shm::RequestSlot& slot = client.slot(i % client.slots());
           slot.cancel.store(static_cast<std::uint32_t>(slot.generation.load()));
         }
       });
       for (int i = 0; i < 200; ++i) {
         const std::uint32_t slot = a.slot();
         const bool in_time =
             client.await(slot, client.ask(slot, Op::kEmbed, text_list({"stormy"}), 1));
         a.check(
             in_time && (client.code(slot) == Code::kOk || client.code(slot) == Code::kCancelled),
             "answered, or cancelled");
       }
       over = true;
       storm.join();
     }},
    {"UnknownFlagsPrioritiesAndReservedBytes", answered(Code::kOk),
     [](Attack& a) {
       const std::uint32_t i = a.slot();
       shm::RequestSlot& slot = a.client().slot(i);
       a.client().write(i, Op::kPing, "flags");
       slot.flags = static_cast<std::uint16_t>(1 + a.below(UINT16_MAX));
       slot.priority = static_cast<std::uint8_t>(a.any32());
       for (std::uint8_t& byte : slot.reserved) byte = static_cast<std::uint8_t>(a.any32());
       slot.trace = a.random();
       a.expect_answer(i, a.client().publish(i));
       a.check(a.client().answer(i) == "flags", "the echo is right");
     }},
    {"NoiseInTheReservedHeader", harmless(),
     [](Attack& a) {
       for (std::uint32_t& word : a.client().header().reserved) word = a.any32();
     }},
    // Magic, version, offsets, replies' generations: all in B.
    {"TheReplyRegionIsWrittenTo", harmless(),
     [](Attack& a) {
       const RawClient& client = a.client();
       auto* b = const_cast<std::byte*>(client.b());
       const off_t anywhere = a.below(client.b_size());
       a.check(::pwrite(client.reply_fd(), "x", 1, anywhere) == -1 && errno == EPERM, "pwrite");
       a.check(::mprotect(b, client.b_size(), PROT_READ | PROT_WRITE) == -1 && errno == EACCES,
               "mprotect");
       a.check(::mmap(nullptr, client.b_size(), PROT_READ | PROT_WRITE, MAP_SHARED,
                      client.reply_fd(), 0) == MAP_FAILED,
               "mmap");
     }},
};

}  // namespace

std::span<const Scenario> control_word_scenarios() { return kScenarios; }

}  // namespace nacelle::testing
