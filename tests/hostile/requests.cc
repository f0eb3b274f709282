// Hostile scenarios, part 2: what a slot's fields and a payload can say.
//
// Our requests carry texts, not tensors. So where the usual lists have token ids, dtypes and
// shapes, these have the nearest that exists: handles of services, the number of items times the
// row's width (the only product), the sizes in front of a text list, and UTF-8. A handle is our
// model id; an arena offset is our descriptor; deadlines are relative, so the past is one that has
// just gone.
#include <atomic>
#include <cmath>
#include <limits>
#include <thread>

#include "tests/hostile/scenario.h"

namespace nacelle::testing {
namespace {

using base::Code;
using shm::Op;
using shm::Violation;

// Publishes a ping whose payload is said to be `size` bytes at `offset`.
std::uint64_t point_at(Attack& a, std::uint32_t size, std::uint32_t offset, std::uint32_t slot) {
  a.client().write(slot, Op::kPing, "");
  a.client().slot(slot).payload_size = size;
  a.client().slot(slot).payload_offset = offset;
  return a.client().publish(slot);
}
void point_at(Attack& a, std::uint32_t size, std::uint32_t offset) {
  point_at(a, size, offset, a.slot());
}
std::uint32_t arena_size(Attack& a) {
  return static_cast<std::uint32_t>(a.client().arena().size());
}

void unknown_op(Attack& a, std::uint32_t op) {
  const std::uint32_t slot = a.slot();
  a.client().write(slot, Op::kPing, "op");
  a.client().slot(slot).op = static_cast<std::uint16_t>(op);
  a.client().publish(slot);
}

// A request about texts whose payload is these bytes, with a handle and a number of items.
void ask_texts(Attack& a, std::uint32_t service, std::uint32_t items, std::string_view payload) {
  const std::uint32_t slot = a.slot();
  a.client().write(slot, a.below(2) == 0 ? Op::kEmbed : Op::kClassify, payload, items);
  a.client().slot(slot).service = service;
  a.expect_answer(slot, a.client().publish(slot));
}
void ask_texts(Attack& a, std::uint32_t items, std::string_view payload) {
  ask_texts(a, 0, items, payload);
}
std::string number(std::uint32_t value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

// One text that is refused alone: the reply is good, its item says why not.
void ask_bad_text(Attack& a, const std::string& text) {
  const std::uint32_t slot = a.slot();
  a.expect_answer(slot, a.client().ask(slot, Op::kEmbed, text_list({text}), 1));
  shm::ItemReport item;
  std::memcpy(&item, a.client().answer(slot).data(), sizeof item);
  a.check(item.code == static_cast<std::uint16_t>(Code::kInvalid), "the item is invalid");
}

void ask_with_deadline(Attack& a, std::uint32_t microseconds) {
  const std::uint32_t slot = a.slot();
  a.client().write(slot, Op::kEmbed, text_list({"in time"}), 1);
  a.client().slot(slot).deadline_us = microseconds;
  a.expect_answer(slot, a.client().publish(slot));
}

// Asks with these flags; the payload begins with what should be Parameters.
std::uint64_t ask_with_flags(Attack& a, std::uint32_t slot, Op op, std::uint16_t flags,
                             std::string_view payload) {
  a.client().write(slot, op, payload, 1 + a.below(3));
  a.client().slot(slot).flags = flags;
  return a.client().publish(slot);
}

// Calls `change` over and over on another thread while the sidecar answers.
template <typename Change>
void while_changing(Attack& a, Change&& change, std::uint32_t size) {
  std::atomic<bool> over{false};
  std::thread scribbler([&] {
    std::mt19937_64 dice(a.below(UINT32_MAX));
    while (!over) change(dice);
  });
  const std::string payload(size, 'p');
  for (int i = 0; i < 300; ++i) {
    const std::uint32_t slot = a.slot();
    const bool answered = a.client().await(slot, a.client().ask(slot, Op::kPing, payload));
    a.check(answered && a.client().code(slot) == Code::kOk, "answered");
    a.check(a.client().answer(slot).size() == size, "with as many bytes as were asked for");
  }
  over = true;
  scribbler.join();
}

const Scenario kScenarios[] = {
    {"TheFirstOpThatDoesNotExist", disconnected(Violation::kOp),
     [](Attack& a) { unknown_op(a, shm::kOpsEnd); }},
    {"TheLargestOp", disconnected(Violation::kOp), [](Attack& a) { unknown_op(a, UINT16_MAX); }},
    {"AnyOpThatDoesNotExist", disconnected(Violation::kOp),
     [](Attack& a) { unknown_op(a, shm::kOpsEnd + a.below(UINT16_MAX - shm::kOpsEnd)); }},

    {"ASizeOfZero", answered(Code::kOk), [](Attack& a) { a.ask(Op::kPing, ""); }},
    {"ASizeOfZeroWithAnOffsetOutside", answered(Code::kOk),
     [](Attack& a) {
       const std::uint32_t slot = a.slot();
       a.expect_answer(slot, point_at(a, 0, UINT32_MAX, slot));
     }},
    {"TheLargestSizeThereIs", answered(Code::kOk),
     [](Attack& a) {
       const std::string payload = a.bytes(a.client().arena().size());
       a.expect_answer(0, a.client().ask(0, Op::kPing, payload));
       a.check(a.client().answer(0) == payload, "the echo is right");
     }},
    {"ASizeOneOverTheArena", disconnected(Violation::kPayload),
     [](Attack& a) { point_at(a, arena_size(a) + 1, 0); }},
    {"ASizeOf2To31", disconnected(Violation::kPayload),
     [](Attack& a) { point_at(a, 1U << 31, 0); }},
    {"TheLargestSizeOfANumber", disconnected(Violation::kPayload),
     [](Attack& a) { point_at(a, UINT32_MAX, 0); }},
    {"SizeAndOffsetWrapToNothing", disconnected(Violation::kPayload),
     [](Attack& a) {
       const std::uint32_t offset = 1 + a.below(arena_size(a));
       point_at(a, 0U - offset, offset);
     }},
    {"SizeAndOffsetWrapIntoTheArena", disconnected(Violation::kPayload),
     [](Attack& a) { point_at(a, 4096, UINT32_MAX - 64); }},
    {"APayloadOneByteOverTheEnd", disconnected(Violation::kPayload),
     [](Attack& a) {
       const std::uint32_t size = 65 + a.below(1000);
       point_at(a, size, arena_size(a) - size + 1);
     }},
    {"AnOffsetAtTheEnd", disconnected(Violation::kPayload),
     [](Attack& a) { point_at(a, 65, arena_size(a)); }},
    {"AnOffsetFarOutside", disconnected(Violation::kPayload),
     [](Attack& a) { point_at(a, 65, arena_size(a) + a.below(UINT32_MAX - arena_size(a))); }},
    {"AnOffsetBackIntoTheControlPage", disconnected(Violation::kPayload),
     [](Attack& a) { point_at(a, 128, 0U - 4096U + 128U * a.below(16)); }},
    {"AMisalignedOffset", answered(Code::kOk),
     [](Attack& a) {
       const std::string payload = a.bytes(65 + a.below(5000));
       const std::uint32_t slot = a.slot();
       const std::uint32_t offset = 2 * a.below(20'000) + 1;
       a.expect_answer(slot, a.client().ask(slot, Op::kPing, payload, 0, offset));
       a.check(a.client().answer(slot) == payload, "the echo is right");
     }},
    {"PayloadsThatOverlap", answered(Code::kOk),
     [](Attack& a) {
       const RawClient& client = a.client();
       const std::string bytes = a.bytes(10'000);
       std::memcpy(client.arena().data(), bytes.data(), bytes.size());
       for (std::uint32_t slot = 0; slot + 1 < client.slots(); ++slot) {
         const std::uint32_t offset = a.below(2000);
         a.expect_answer(slot, point_at(a, 5000, offset, slot));
         a.check(client.answer(slot) == bytes.substr(offset, 5000), "each has its own bytes");
       }
     }},
    {"AllSlotsNameTheWholeArena", harmless(),
     [](Attack& a) {
       const RawClient& client = a.client();
       for (std::uint32_t slot = 0; slot < client.slots(); ++slot) {
         client.write(slot, Op::kPing, "");
         client.slot(slot).payload_size = arena_size(a);
         client.slot(slot).payload_offset = 0;
       }
       for (int round = 0; round < 20; ++round) {
         for (std::uint32_t slot = 0; slot < client.slots(); ++slot) client.publish(slot);
         for (std::uint32_t slot = 0; slot < client.slots(); ++slot) {
           const bool answered = client.await(slot, client.slot(slot).generation.load());
           a.check(answered && (client.code(slot) == Code::kOk || client.code(slot) == Code::kBusy),
                   "an echo, or no room for one");
         }
       }
     }},

    {"AHandleOneTooHigh", answered(Code::kNotFound),
     [](Attack& a) { ask_texts(a, 1, 1, text_list({"x"})); }},
    {"TheLargestHandle", answered(Code::kNotFound),
     [](Attack& a) { ask_texts(a, UINT32_MAX, 1, text_list({"x"})); }},
    {"AnyHandleThatDoesNotExist", answered(Code::kNotFound),
     [](Attack& a) { ask_texts(a, 1 + a.below(UINT32_MAX), 1, text_list({"x"})); }},
    {"NoItems", answered(Code::kInvalid), [](Attack& a) { ask_texts(a, 0, text_list({"x"})); }},
    {"OneItemTooMany", answered(Code::kTooLarge),
     [](Attack& a) {
       const std::uint32_t items = a.stage.config().limits.items_max + 1;
       ask_texts(a, items, text_list(std::vector<std::string>(items, "x")));
     }},
    {"TheMostItemsOfANumber", answered(Code::kTooLarge),
     [](Attack& a) { ask_texts(a, UINT32_MAX, text_list({"x"})); }},
    {"ItemsTimesWidthOverflow32Bits", answered(Code::kTooLarge),
     [](Attack& a) {
       // The row list's size would be a small number modulo 2^32.
       ask_texts(a, UINT32_MAX / (kEchoWidth * 4 + 16) + 1 + a.below(4), text_list({"x"}));
     }},

    {"MoreItemsThanSizes", answered(Code::kInvalid),
     [](Attack& a) { ask_texts(a, 2 + a.below(60), number(1)); }},
    {"APayloadShorterThanOneSize", answered(Code::kInvalid),
     [](Attack& a) { ask_texts(a, 1, a.bytes(a.below(4))); }},
    {"ATextLongerThanThePayload", answered(Code::kInvalid),
     [](Attack& a) { ask_texts(a, 1, number(4 + a.below(10'000)) + "abc"); }},
    {"ATextOf2To31Bytes", answered(Code::kInvalid),
     [](Attack& a) { ask_texts(a, 1, number(1U << 31) + "abc"); }},
    {"ATextWhoseEndWraps", answered(Code::kInvalid),
     [](Attack& a) { ask_texts(a, 1, number(UINT32_MAX - a.below(8)) + "abc"); }},
    {"SizesWhoseSumWraps", answered(Code::kInvalid),
     [](Attack& a) { ask_texts(a, 2, number(1U << 31) + number((1U << 31) + 3) + "abc"); }},
    {"BytesBehindTheTexts", answered(Code::kInvalid),
     [](Attack& a) { ask_texts(a, 1, text_list({"x"}) + a.bytes(1 + a.below(50))); }},
    {"ATextOverTheLimit", answered(Code::kTooLarge),
     [](Attack& a) {
       ask_texts(a, 1, text_list({std::string(a.stage.config().limits.text_bytes_max + 1, 'x')}));
     }},
    {"ATextOfFarTooManyTokens", answered(Code::kOk),
     [](Attack& a) {
       std::string text(a.stage.config().limits.text_bytes_max, 'x');
       a.ask(Op::kEmbed, text_list({text}), 1);
     }},
    {"EmptyTexts", answered(Code::kOk),
     [](Attack& a) { ask_texts(a, 7, text_list(std::vector<std::string>(7))); }},
    {"ATextThatIsNotUtf8", answered(Code::kOk),
     [](Attack& a) { ask_bad_text(a, "ab" + a.bytes(a.below(100)) + "\xC3("); }},
    {"ATextOfOverlongAndSurrogateForms", answered(Code::kOk),
     [](Attack& a) {
       for (const char* bad :
            {"\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xF8\x88\x80\x80\x80"})
         ask_bad_text(a, bad);
     }},
    {"ATextOfNanAndInfinity", answered(Code::kOk),
     [](Attack& a) {
       const float values[] = {std::nanf(""), std::numeric_limits<float>::infinity()};
       ask_bad_text(a, {reinterpret_cast<const char*>(values), sizeof values});
     }},
    {"APingOfNanAndInfinity", answered(Code::kOk),
     [](Attack& a) {
       const double values[] = {std::nan(""), -std::numeric_limits<double>::infinity()};
       const std::string payload(reinterpret_cast<const char*>(values), sizeof values);
       a.expect_answer(3, a.client().ask(3, Op::kPing, payload));
       a.check(a.client().answer(3) == payload, "the echo is right");
     }},
    {"ANameThatNoServiceHas", answered(Code::kNotFound),
     [](Attack& a) {
       a.ask(Op::kDescribe, "");
       a.ask(Op::kDescribe, std::string(1 + a.below(500), static_cast<char>('a' + a.below(26))));
       a.ask(Op::kDescribe, std::string("echo\0", 5));
     }},
    {"ANameThatIsNotUtf8", answered(Code::kInvalid),
     [](Attack& a) { a.ask(Op::kDescribe, "\xFF" + a.bytes(a.below(200))); }},
    {"ANameAsLargeAsTheArena", answered(Code::kNotFound),
     [](Attack& a) { a.ask(Op::kDescribe, std::string(a.client().arena().size(), 'n')); }},

    {"FlagsThatDoNotExist", answered(Code::kInvalid),
     [](Attack& a) {
       const std::uint32_t slot = a.slot();
       const auto flags = static_cast<std::uint16_t>(2U << a.below(15));
       a.expect_answer(slot, ask_with_flags(a, slot, Op::kEmbed, flags, text_list({"x"})));
     }},
    {"AQueryWithoutDocuments", answered(Code::kInvalid),
     [](Attack& a) { a.ask(Op::kRerank, text_list({"query"}), 1); }},
    {"ParametersCutOff", answered(Code::kInvalid),
     [](Attack& a) {
       const std::uint32_t slot = a.slot();
       const std::string payload = a.bytes(a.below(sizeof(shm::Parameters)));
       a.expect_answer(slot, ask_with_flags(a, slot, Op::kEmbed, shm::kRequestParameters, payload));
     }},
    // Any bytes, and bytes that are nearly right: whatever it is, it is answered.
    {"ParametersOfAnyBytes", harmless(),
     [](Attack& a) {
       const Op ops[] = {Op::kEmbed, Op::kClassify, Op::kRerank};
       for (int i = 0; i < 200; ++i) {
         std::string payload = a.bytes(sizeof(shm::Parameters) + a.below(200));
         if (a.below(2) == 0) {
           shm::Parameters near;
           near.element = static_cast<shm::Element>(a.below(6));
           near.normalize = static_cast<shm::Normalize>(a.below(4));
           near.long_input = static_cast<shm::LongInput>(a.below(5));
           near.prompt = static_cast<shm::Prompt>(a.below(4));
           near.dimensions = a.below(2 * kEchoWidth);
           near.prompt_size = a.below(200);
           std::memcpy(payload.data(), &near, sizeof near);
         }
         const std::uint32_t slot = a.slot();
         const std::uint64_t asked =
             ask_with_flags(a, slot, ops[a.below(3)], shm::kRequestParameters, payload);
         a.check(a.client().await(slot, asked), "answered");
         a.client().release(slot);
       }
     }},

    {"NoDeadline", answered(Code::kOk), [](Attack& a) { ask_with_deadline(a, 0); }},
    {"TheLargestDeadline", answered(Code::kOk),
     [](Attack& a) { ask_with_deadline(a, UINT32_MAX); }},
    {"ADeadlineThatHasPassed", answered(Code::kDeadlineExceeded),
     [](Attack& a) {
       auto hold = std::make_unique<Hold>();
       const RawClient& client = a.client();
       const std::uint64_t held = client.ask(0, Op::kEmbed, text_list({"\x01"}), 1);
       a.await_in_flight(1);
       client.write(1, Op::kEmbed, text_list({"too late"}), 1);
       client.slot(1).deadline_us = 1 + a.below(50);
       const std::uint64_t late = client.publish(1);
       CHECK(eventually(
           [&] { return client.replied(1, late) || a.stage.books().in_flight_of_others == 2; }));
       const base::Nanos passed = base::now_ns() + 50 * base::kMicrosecond;
       while (base::now_ns() < passed) {
       }
       hold.reset();
       CHECK(client.await(0, held));
       a.expect_answer(1, late);
     }},

    {"ALongPayloadChangesAllTheTime", harmless(),
     [](Attack& a) {
       const RawClient& client = a.client();
       while_changing(
           a, [&client](auto& dice) { client.arena()[dice() % 3000] = std::byte(dice()); }, 3000);
     }},
    {"AnInlinePayloadChangesAllTheTime", harmless(),
     [](Attack& a) {
       const RawClient& client = a.client();
       while_changing(
           a,
           [&client](auto& dice) {
             client.slot(static_cast<std::uint32_t>(dice() % client.slots())).payload[dice() % 64] =
                 std::byte(dice());
           },
           64);
     }},
    {"FieldsThatAPingDoesNotNeedChangeAllTheTime", harmless(),
     [](Attack& a) {
       const RawClient& client = a.client();
       while_changing(
           a,
           [&client](auto& dice) {
             shm::RequestSlot& slot =
                 client.slot(static_cast<std::uint32_t>(dice() % client.slots()));
             slot.service = static_cast<std::uint32_t>(dice());
             slot.payload_offset = static_cast<std::uint32_t>(dice());
             slot.deadline_us = static_cast<std::uint32_t>(dice());
             slot.trace = dice();
           },
           48);
     }},
    // A size that is legal at any moment, but never the same: what is checked must be what is used.
    {"TheSizeChangesAllTheTime", harmless(),
     [](Attack& a) {
       const RawClient& client = a.client();
       std::atomic<bool> over{false};
       std::thread scribbler([&] {
         for (std::uint32_t size = 0; !over; size = (size + 97) % 20'000) {
           for (std::uint32_t i = 0; i < client.slots(); ++i) client.slot(i).payload_size = size;
         }
       });
       for (int i = 0; i < 300; ++i) {
         const std::uint32_t slot = a.slot();
         const bool answered = client.await(slot, client.ask(slot, Op::kPing, "size"));
         a.check(answered && client.code(slot) == Code::kOk, "answered");
         client.release(slot);
       }
       over = true;
       scribbler.join();
     }},
};

}  // namespace

std::span<const Scenario> request_scenarios() { return kScenarios; }

}  // namespace nacelle::testing
