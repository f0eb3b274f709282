// The explorer itself: what C++ allows happens in some run, what it forbids in none.
#include "tests/explorer/world.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <set>
#include <string>

#include "tests/explorer/words.h"

namespace nacelle::explorer {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr auto kAcquire = std::memory_order_acquire;
constexpr auto kRelease = std::memory_order_release;
constexpr auto kSeqCst = std::memory_order_seq_cst;

struct Litmus {
  Word<std::uint32_t> x{"x"};
  Word<std::uint32_t> y{"y"};
  Data data{"data"};
  Object bell{.name = "bell"};
  std::uint32_t a = 0;
  std::uint32_t b = 0;
  std::uint32_t c = 0;
  std::uint32_t d = 0;
};
using Part = std::function<void(Litmus&)>;

// Runs the parts as threads; every result "abcd" that some run had goes to `results`.
Outcome explore(std::initializer_list<Part> parts, std::set<std::string>* results = nullptr,
                const Bounds& bounds = {}) {
  World world(bounds);
  return world.explore([&](World& w) {
    auto state = std::make_shared<Litmus>();
    Litmus* litmus = state.get();
    w.keep(std::move(state));
    int process = 0;
    for (const Part& part : parts) {
      w.spawn("thread", process, false, [&part, litmus] { part(*litmus); });
      process = bounds.crashes > 0 ? process + 1 : 0;
    }
    if (results == nullptr) return;
    w.at_end([litmus, results] {
      results->insert(std::to_string(litmus->a) + std::to_string(litmus->b) +
                      std::to_string(litmus->c) + std::to_string(litmus->d));
    });
  });
}

std::set<std::string> store_buffering(std::memory_order store, std::memory_order load) {
  std::set<std::string> results;
  explore({[=](Litmus& l) {
             l.x.store(1, store);
             l.a = l.y.load(load);
           },
           [=](Litmus& l) {
             l.y.store(1, store);
             l.b = l.x.load(load);
           }},
          &results);
  return results;
}

TEST(World, TwoFlagsAreMissedByBothUnlessAllFourAreSeqCst) {
  EXPECT_EQ(store_buffering(kSeqCst, kSeqCst), (std::set<std::string>{"0100", "1000", "1100"}));
  const std::set<std::string> all{"0000", "0100", "1000", "1100"};
  EXPECT_EQ(store_buffering(kRelease, kAcquire), all);
  EXPECT_EQ(store_buffering(kRelease, kSeqCst), all);
  EXPECT_EQ(store_buffering(kSeqCst, kAcquire), all);
}

std::set<std::string> message_passing(std::memory_order store, std::memory_order load) {
  std::set<std::string> results;
  explore({[=](Litmus& l) {
             l.x.store(1, kRelaxed);
             l.y.store(1, store);
           },
           [=](Litmus& l) {
             l.a = l.y.load(load);
             l.b = l.x.load(kRelaxed);
           }},
          &results);
  return results;
}

TEST(World, AMessageTakesAlongWhatCameBeforeItWhenReleasedAndAcquired) {
  const std::set<std::string> right{"0000", "0100", "1100"};
  EXPECT_EQ(message_passing(kRelease, kAcquire), right);
  EXPECT_EQ(message_passing(kSeqCst, kSeqCst), right);
  EXPECT_EQ(message_passing(kRelaxed, kAcquire).count("1000"), 1U);
  EXPECT_EQ(message_passing(kRelease, kRelaxed).count("1000"), 1U);
}

// Two readers of two independent writers agree on an order only when all is seq_cst.
TEST(World, IndependentReadsOfIndependentWrites) {
  for (const bool strong : {false, true}) {
    const auto store = strong ? kSeqCst : kRelease;
    const auto load = strong ? kSeqCst : kAcquire;
    std::set<std::string> results;
    explore({[=](Litmus& l) { l.x.store(1, store); }, [=](Litmus& l) { l.y.store(1, store); },
             [=](Litmus& l) {
               l.a = l.x.load(load);
               l.b = l.y.load(load);
             },
             [=](Litmus& l) {
               l.c = l.y.load(load);
               l.d = l.x.load(load);
             }},
            &results);
    EXPECT_EQ(results.count("1010"), strong ? 0U : 1U);
    EXPECT_EQ(results.count("1111"), 1U);
  }
}

TEST(World, AThreadNeverReadsBackwards) {
  std::set<std::string> results;
  explore({[](Litmus& l) {
             l.x.store(1, kRelaxed);
             l.x.store(2, kRelaxed);
           },
           [](Litmus& l) {
             l.a = l.x.load(kRelaxed);
             l.b = l.x.load(kRelaxed);
           }},
          &results);
  EXPECT_EQ(results, (std::set<std::string>{"0000", "0100", "0200", "1100", "1200", "2200"}));
}

TEST(World, AReadModifyWriteLosesNoAddition) {
  std::set<std::string> results;
  const Part add = [](Litmus& l) {
    std::uint32_t seen = l.x.load(kRelaxed);
    while (!l.x.compare_exchange_weak(seen, seen + 1, kRelaxed)) {
    }
  };
  explore({add, add, [](Litmus& l) { l.a = l.x.load(kRelaxed); }}, &results);
  EXPECT_EQ(results, (std::set<std::string>{"0000", "1000", "2000"}));
}

Outcome hand_over(std::memory_order store, std::memory_order load) {
  return explore({[=](Litmus& l) {
                    l.data.write(7);
                    l.x.store(1, store);
                  },
                  [=](Litmus& l) {
                    if (l.x.load(load) == 1) World::current().check(l.data.read() == 7, "lost");
                  }});
}

TEST(World, PlainDataIsHandedOverByReleaseAndAcquireOnly) {
  EXPECT_THAT(hand_over(kRelease, kAcquire).failure, IsEmpty());
  EXPECT_THAT(hand_over(kRelaxed, kAcquire).failure, HasSubstr("data race"));
  EXPECT_THAT(hand_over(kRelease, kRelaxed).failure, HasSubstr("data race"));
}

// The kernel looks at the word once more: only who sleeps on a value it has not checked is lost.
TEST(World, AWakeThatComesBetweenTheLookAndTheSleepIsNotLost) {
  const Part waker = [](Litmus& l) {
    l.x.store(1, kRelease);
    l.x.futex_wake();
  };
  const Part right = [](Litmus& l) {
    while (l.x.load(kAcquire) == 0) l.x.futex_wait(0);
  };
  const Part wrong = [](Litmus& l) {
    if (l.x.load(kAcquire) == 0) l.x.futex_wait(l.x.load(kAcquire));
  };
  EXPECT_THAT(explore({waker, right}).failure, IsEmpty());
  EXPECT_THAT(explore({waker, wrong}).failure, HasSubstr("waits for ever"));
}

TEST(World, ABellIsHeardByWhoWaitsLater) {
  const Part ring = [](Litmus& l) {
    l.data.write(1);
    World::current().signal(l.bell);
  };
  const Part wait = [](Litmus& l) {
    World::current().await({&l.bell}, 1);
    l.data.read();
  };
  EXPECT_THAT(explore({ring, wait}).failure, IsEmpty());
  EXPECT_THAT(explore({ring, wait, wait}).failure, HasSubstr("waits for ever")) << "one each";
}

// A process can be killed before each of its steps, and whoever waits for its end hears of it.
TEST(World, AKilledProcessStopsAnywhereAndHangsUp) {
  std::set<std::string> results;
  const Outcome outcome = explore({[](Litmus& l) {
                                     World::current().await({&World::current().hang_up(1)}, 0);
                                     l.a = l.x.load(kSeqCst);
                                   },
                                   [](Litmus& l) {
                                     l.x.store(1, kSeqCst);
                                     l.x.store(2, kSeqCst);
                                   }},
                                  &results, {.crashes = 1});
  EXPECT_THAT(outcome.failure, IsEmpty());
  EXPECT_EQ(results, (std::set<std::string>{"0000", "1000", "2000"}));
}

// A failure that needs two preemptions is found with two and not with one, and its choices lead to
// it again.
TEST(World, PreemptionsAreBoundedAndFailuresCanBeReplayed) {
  const auto program = [](World& w) {
    auto state = std::make_shared<Litmus>();
    Litmus* l = state.get();
    w.keep(std::move(state));
    w.spawn("one", 0, false, [l] {
      l->x.store(1, kSeqCst);
      l->x.store(2, kSeqCst);
    });
    w.spawn("two", 0, false, [l] {
      l->a = l->x.load(kSeqCst);
      l->b = l->x.load(kSeqCst);
      World::current().check(l->a != 1 || l->b != 2, "between the two");
    });
  };
  EXPECT_THAT(World({.preemptions = 1}).explore(program).failure, IsEmpty());
  World world({.preemptions = 2});
  const Outcome outcome = world.explore(program);
  EXPECT_EQ(outcome.failure, "between the two");
  EXPECT_THAT(outcome.trace, HasSubstr("stores  x = 2"));
  EXPECT_EQ(world.replay(program, outcome.choices).failure, "between the two");
}

TEST(World, AProgramThatDoesNotEndIsAFailure) {
  EXPECT_THAT(explore({[](Litmus& l) {
                while (l.x.load(kRelaxed) == 0) {
                }
              }}).failure,
              HasSubstr("does not end"));
}

}  // namespace
}  // namespace nacelle::explorer
