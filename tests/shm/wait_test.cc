// Waiting and waking, without losing either.
#include "shm/wait.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace nacelle::shm {
namespace {

TEST(Wait, AWordThatHasChangedIsNotSleptOn) {
  const std::atomic<std::uint32_t> word{2};
  EXPECT_EQ(futex_wait(&word, 1, base::kNever), FutexResult::kWoken);
}

TEST(Wait, ASleepEndsWithItsTimeout) {
  const std::atomic<std::uint32_t> word{1};
  EXPECT_EQ(futex_wait(&word, 1, 1), FutexResult::kTimedOut);
}

TEST(Wait, TheLowHalfOfAGenerationIsTheWordToSleepOn) {
  const std::atomic<std::uint64_t> generation{0x1'0000'0007ULL};
  EXPECT_EQ(low_half(&generation)->load(), 7U);
}

TEST(Wait, TheSpinBudgetIsWithinItsBounds) {
  const base::Nanos budget = calibrated_spin_ns();
  EXPECT_GE(budget, 0);
  EXPECT_LE(budget, kSpinMax);
  EXPECT_EQ(calibrated_spin_ns(), budget) << "measured once";
}

// The protocol of wait.h, both ways, as fast as it goes: a lost wake-up would hang for a second.
TEST(Wait, AHandOverLosesNoWakeUp) {
  constexpr std::uint32_t kRounds = 20'000;
  std::atomic<std::uint32_t> ball{0};
  std::atomic<std::uint32_t> waiting[2] = {0, 0};
  std::atomic<std::uint32_t> timeouts{0};
  const auto play = [&](std::uint32_t parity) {
    for (std::uint32_t turn = parity; turn < kRounds; turn += 2) {
      while (ball.load(std::memory_order_seq_cst) != turn) {
        waiting[parity].store(1, std::memory_order_seq_cst);
        const std::uint32_t seen = ball.load(std::memory_order_seq_cst);
        if (seen != turn && futex_wait(&ball, seen, base::kSecond) == FutexResult::kTimedOut) {
          timeouts.fetch_add(1);
        }
        waiting[parity].store(0, std::memory_order_relaxed);
      }
      ball.store(turn + 1, std::memory_order_seq_cst);
      if (waiting[1 - parity].load(std::memory_order_seq_cst) != 0) futex_wake(&ball);
    }
  };
  std::thread other([&] { play(1); });
  play(0);
  other.join();
  EXPECT_EQ(ball.load(), kRounds);
  EXPECT_EQ(timeouts.load(), 0U);
}

}  // namespace
}  // namespace nacelle::shm
