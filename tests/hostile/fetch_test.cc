// Nothing that a client can write is read twice: every byte is changed the moment it was fetched,
// and the replies are still those to the bytes as they were.
//
//   NACELLE_HOSTILE_MESSAGES=10000000     instead of 100,000
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <random>
#include <string>
#include <thread>

#include "tests/hostile/echo_model.h"
#include "tests/hostile/fetch_watch.h"
#include "tests/hostile/stage.h"
#include "tests/support/raw_client.h"

namespace nacelle::testing {
namespace {

using shm::Op;

constexpr std::uint64_t kSeed = 20260725;

int messages() {
  const char* text = std::getenv("NACELLE_HOSTILE_MESSAGES");
  return text == nullptr ? 100'000 : std::atoi(text);
}

// A sidecar, a client that it fetches from for the first time now, and the watch on that.
struct Watched {
  explicit Watched(bool scramble)
      : client(newcomer(stage)),
        watch({client.a(), client.a_size()}, client.table().request_arena_offset, scramble, kSeed) {
    CHECK(stage.neighbour().served());
  }
  [[nodiscard]] std::uint64_t slot_offset(std::uint32_t i) const {
    return client.table().request_slots_offset + i * sizeof(shm::RequestSlot);
  }

  // The neighbour is known, whoever comes now is not.
  static std::string newcomer(Stage& stage) {
    FetchWatch::know_everybody();
    return stage.path();
  }

  Stage stage;
  RawClient client;
  FetchWatch watch;
};

// The bytes of the row that a reply to one text ends with.
std::string row_bytes(const std::string& text) {
  const std::vector<float> row = echo_of(text);
  return {reinterpret_cast<const char*>(row.data()), row.size() * sizeof(float)};
}

TEST(Fetch, NoByteOfARequestIsFetchedTwice) {
  Watched watched(true);
  const RawClient& client = watched.client;
  std::mt19937_64 random(kSeed);
  const std::uint32_t room = client.table().request_arena_size / client.slots();
  const auto text_of = [&random](std::size_t size_max) {
    std::string text(random() % size_max, '\0');
    for (char& c : text) c = static_cast<char>('a' + random() % 26);
    return text;
  };
  int left = messages();
  std::map<Op, int> asked;
  while (left > 0) {
    struct Call {
      Op op;
      std::string payload;
      std::string text;
      std::uint64_t generation;
    };
    std::vector<Call> calls;
    for (std::uint32_t slot = 0; slot < client.slots(); ++slot, --left) {
      Call call{.op = Op::kPing, .payload = {}, .text = {}, .generation = 0};
      // Mostly pings, inline and in the arena; texts and names of services among them.
      switch (random() % 8) {
        case 0:
          call.op = Op::kEmbed;
          call.text = text_of(random() % 2 == 0 ? 50 : 2000);
          call.payload = text_list({call.text});
          break;
        case 1:
          call.op = Op::kDescribe;
          call.payload = random() % 2 == 0 ? "echo" : text_of(1000);
          break;
        default:
          call.payload = text_of(random() % 4 == 0 ? 4000 : 64);
      }
      watched.watch.forget(watched.slot_offset(slot), sizeof(shm::RequestSlot));
      watched.watch.forget(client.table().request_arena_offset + std::uint64_t{slot} * room, room);
      call.generation =
          client.ask(slot, call.op, call.payload, call.op == Op::kEmbed ? 1 : 0, slot * room);
      ++asked[call.op];
      calls.push_back(std::move(call));
    }
    for (std::uint32_t slot = 0; slot < client.slots(); ++slot) {
      const Call& call = calls[slot];
      ASSERT_TRUE(client.await(slot, call.generation)) << "disconnected";
      const base::Code expected = call.op == Op::kDescribe && call.payload != "echo"
                                      ? base::Code::kNotFound
                                      : base::Code::kOk;
      ASSERT_EQ(client.code(slot), expected) << client.answer(slot);
      if (call.op == Op::kPing) {
        ASSERT_EQ(client.answer(slot), call.payload);
      }
      if (call.op == Op::kEmbed) {
        ASSERT_TRUE(client.answer(slot).ends_with(row_bytes(call.text)));
      }
    }
    ASSERT_EQ(watched.watch.twice(), 0U) << watched.watch.offence();
  }
  EXPECT_GT(watched.watch.bytes(), 0U) << "the linker's --wrap does not reach the fetches";
  for (const Op op : {Op::kPing, Op::kDescribe, Op::kEmbed}) EXPECT_GT(asked[op], 0);
  EXPECT_TRUE(watched.stage.neighbour().served()) << watched.stage.neighbour().complaint();
}

// Another thread writes all over the requests while they are read: sizes and offsets too, each
// legal at any moment. What comes back belongs to the bytes as they were fetched.
TEST(Fetch, ARequestThatIsScribbledOverIsAnsweredAsItWasFetched) {
  Watched watched(false);
  const RawClient& client = watched.client;
  constexpr std::uint32_t kSizeMax = 2000;
  const std::uint32_t offsets = client.table().request_arena_size - kSizeMax;
  std::atomic<bool> over{false};
  std::thread scribbler([&] {
    std::mt19937_64 random(kSeed);
    shm::RequestSlot& slot = client.slot(0);
    while (!over) {
      slot.payload_size =
          static_cast<std::uint32_t>(random() % (random() % 2 == 0 ? 64 : kSizeMax));
      slot.payload_offset = static_cast<std::uint32_t>(random() % offsets);
      slot.service = static_cast<std::uint32_t>(random());
      slot.items = static_cast<std::uint32_t>(random() % kSizeMax);  // bytes wanted back
      slot.trace = random();
      slot.payload[random() % shm::kRequestInline] = static_cast<std::byte>(random());
      for (int i = 0; i < 8; ++i) {
        client.arena()[random() % client.arena().size()] = static_cast<std::byte>(random());
      }
    }
  });
  const std::uint64_t slot = watched.slot_offset(0);
  const std::uint64_t arena = client.table().request_arena_offset;
  const int count = messages() / 10;  // each takes a whole round trip
  for (int i = 0; i < count; ++i) {
    watched.watch.forget(0, arena);
    client.slot(0).op = static_cast<std::uint16_t>(Op::kPing);
    const std::uint64_t generation = client.publish(0);
    const bool answered = client.await(0, generation);
    if (!answered || client.code(0) != base::Code::kOk) {
      ADD_FAILURE() << "disconnected, or refused: " << client.answer(0);
      break;
    }
    const auto number = [&](std::size_t field) {
      std::uint32_t value = 0;
      for (std::size_t byte = 0; byte < sizeof value; ++byte) {
        value |= std::to_integer<std::uint32_t>(watched.watch.fetched(slot + field + byte))
                 << (8 * byte);
      }
      return value;
    };
    const std::uint32_t size = number(offsetof(shm::RequestSlot, payload_size));
    const std::uint64_t from = size <= shm::kRequestInline
                                   ? slot + offsetof(shm::RequestSlot, payload)
                                   : arena + number(offsetof(shm::RequestSlot, payload_offset));
    const std::uint32_t items = number(offsetof(shm::RequestSlot, items));
    std::string expected;
    for (std::uint32_t byte = 0; byte < (items > 0 ? items : size); ++byte) {
      expected += size > 0 ? static_cast<char>(watched.watch.fetched(from + byte % size)) : '\0';
    }
    if (client.answer(0) != expected || watched.watch.twice() > 0) {
      ADD_FAILURE() << "message " << i << " of " << size
                    << " bytes; fetched twice: " << watched.watch.offence();
      break;
    }
    watched.watch.forget(from, size);
    client.release(0);
  }
  over = true;
  scribbler.join();
  EXPECT_GT(watched.watch.bytes(), 0U);
}

// The check can fail: this is what fetching twice looks like.
TEST(Fetch, TheWatchSeesASecondFetchAndTheFlippedByte) {
  std::vector<std::byte> region(4096, std::byte{7});
  const shm::Untrusted untrusted(region);
  FetchWatch watch(region, 1024, true, kSeed);
  std::byte first[200];
  ASSERT_TRUE(untrusted.copy_in(2000, sizeof first, first));
  EXPECT_EQ(watch.twice(), 0U);
  EXPECT_EQ(first[10], std::byte{7});
  std::byte second = first[10];
  ASSERT_TRUE(untrusted.copy_in(2010, 1, &second));
  EXPECT_NE(second, std::byte{7}) << "flipped in between";
  EXPECT_EQ(watch.twice(), 1U);
  EXPECT_EQ(watch.offence(), "arena byte at 2010");
  // A word is fetched like any other byte, unless it is one of those that may be looked at again.
  constexpr std::uint64_t kSlot = sizeof(shm::RequestHeader);
  for (int i = 0; i < 3; ++i) {
    [[maybe_unused]] const std::uint64_t generation = untrusted.load_u64(kSlot);
    [[maybe_unused]] const std::uint32_t waiting =
        untrusted.load_u32(kSlot + offsetof(shm::RequestSlot, waiting));
  }
  EXPECT_EQ(watch.twice(), 1U);
  for (int i = 0; i < 2; ++i) {
    [[maybe_unused]] const std::uint32_t size =
        untrusted.load_u32(kSlot + offsetof(shm::RequestSlot, payload_size));
  }
  EXPECT_EQ(watch.twice(), 5U);
}

}  // namespace
}  // namespace nacelle::testing
