// Many hostile connections: floods of half a handshake, of descriptors, of silence. Caps hold, what
// was sent along is closed, and a client that was there before is served all the time.
//
//   NACELLE_HOSTILE_CONNECTS=100000     instead of 1,000
#include <fcntl.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <deque>
#include <random>
#include <string>
#include <vector>

#include "tests/hostile/stage.h"
#include "tests/support/raw_client.h"

namespace nacelle::testing {
namespace {

using base::Code;

constexpr std::uint64_t kSeed = 12;
constexpr std::size_t kScmMax = 253;  // descriptors that one message can carry

int connects() {
  const char* text = std::getenv("NACELLE_HOSTILE_CONNECTS");
  return text == nullptr ? 1'000 : std::atoi(text);
}

// All books but what a flood is answered with.
bool as_before(const Stage& stage, Books before) {
  const Books now = stage.books();
  before.refused = now.refused;
  before.violations = now.violations;
  return now == before;
}

TEST(Floods, OfEveryKindLeaveNothingBehind) {
  Stage stage;
  std::mt19937_64 random(kSeed);
  const base::Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const std::vector<int> fds(kScmMax, null.get());
  const Books before = stage.books();
  const shm::Hello hello;
  std::deque<base::Fd> open;  // what the attacker keeps, for a while
  int kinds[7] = {};
  for (int i = 0; i < connects(); ++i) {
    base::Fd socket = dial(stage.path());
    if (!socket) continue;
    const auto kind = random() % std::size(kinds);
    ++kinds[kind];
    bool keep = true;
    // Whether the kernel takes a message is its business: descriptors in flight have a limit, too.
    switch (kind) {
      case 0:  // nothing is said
        break;
      case 1:  // and nobody stays
        keep = false;
        break;
      case 2:  // a part of a hello
        say(socket.get(), &hello, random() % sizeof hello);
        break;
      case 3:  // the same, with as many descriptors as there can be
        say(socket.get(), &hello, random() % sizeof hello, fds);
        break;
      case 4:  // a good hello, whose welcome is never read
        say(socket.get(), hello);
        break;
      case 5:  // a good hello with descriptors, and more of them behind it
        say(socket.get(), hello, fds);
        say(socket.get(), hello, fds);
        break;
      default: {  // noise
        const std::string noise(shm::kMessageMax + random() % 4096, 'n');
        say(socket.get(), noise.data(), noise.size());
        keep = random() % 2 == 0;
      }
    }
    if (keep) open.push_back(std::move(socket));
    if (open.size() > 200) open.pop_front();
    if (i % 100 == 0) {
      ASSERT_TRUE(stage.neighbour().served()) << stage.neighbour().complaint();
      // The sidecar's own ends: a guest each at most, and three descriptors and a socket per
      // client.
      ASSERT_LE(stage.books().clients, stage.config().transport.connections_max);
    }
  }
  open.clear();
  for (const int count : kinds) EXPECT_GT(count, 0);
  EXPECT_TRUE(eventually([&] { return as_before(stage, before); })) << stage.books() << "\n"
                                                                    << before;
  std::uint64_t refusals = 0;
  for (const auto& [code, count] : stage.books().refused) refusals += count;
  EXPECT_GT(refusals, 0U);
  EXPECT_TRUE(stage.neighbour().served()) << stage.neighbour().complaint();
  const RawClient newcomer(stage.path());
  EXPECT_TRUE(newcomer.await(0, newcomer.ask(0, shm::Op::kPing, "next"))) << "the doors are open";
}

// A guest is one who has connected and said nothing yet; there is room for 64.
TEST(Floods, SilentGuestsAreRefusedWhenTheirRoomIsFullAndLaterForBeingSilent) {
  Stage stage;
  const Books before = stage.books();
  constexpr std::size_t kGuests = 100;
  std::vector<base::Fd> guests;
  for (std::size_t i = 0; i < kGuests; ++i) guests.push_back(dial(stage.path()));
  std::map<std::string, std::uint64_t> told;
  for (const base::Fd& guest : guests) {
    const std::optional<Heard> heard = hear(guest.get());
    ASSERT_TRUE(heard.has_value()) << "nobody is left without a word";
    ++told[std::string(base::code_name(static_cast<Code>(heard->welcome.code)))];
  }
  EXPECT_EQ(told["busy"] + told["deadline_exceeded"], kGuests);
  EXPECT_GT(told["busy"], 0U);
  EXPECT_EQ(stage.books().refused, told) << "what was told is what was counted";
  guests.clear();
  EXPECT_TRUE(eventually([&] { return as_before(stage, before); })) << stage.books();
  EXPECT_TRUE(stage.neighbour().served()) << stage.neighbour().complaint();
}

}  // namespace
}  // namespace nacelle::testing
