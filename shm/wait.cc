#include "shm/wait.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>
#include <thread>

#include "sidecar/base/cpus.h"

namespace nacelle::shm {
namespace {

// How long a wake takes from the waker's store to the sleeper's first instruction: the median of a
// few, taken between two threads that really sleep in between.
base::Nanos measure_wake() {
  constexpr std::uint32_t kRounds = 9;
  std::atomic<std::uint32_t> word{0};
  std::atomic<std::uint32_t> answered{0};
  std::array<std::atomic<base::Nanos>, kRounds> woken{};
  std::array<base::Nanos, kRounds> cost{};

  std::thread sleeper([&] {
    for (std::uint32_t round = 0; round < kRounds; ++round) {
      while (word.load(std::memory_order_acquire) == round) {
        futex_wait(&word, round, 10 * base::kMillisecond);
      }
      woken[round].store(base::now_ns(), std::memory_order_relaxed);
      answered.store(round + 1, std::memory_order_release);
      futex_wake(&answered);
    }
  });
  for (std::uint32_t round = 0; round < kRounds; ++round) {
    // Gives the sleeper time to fall asleep; when it has not, the round reads too cheap and the
    // median passes over it.
    const timespec nap{0, 60'000};
    nanosleep(&nap, nullptr);
    const base::Nanos start = base::now_ns();
    word.store(round + 1, std::memory_order_release);
    futex_wake(&word);
    // This thread keeps its CPU, so that the sleeper wakes on another one: that is what the two
    // sides of a connection do, and it costs several times as much as a switch on the spot.
    const base::Nanos patience = start + base::kMillisecond;
    while (answered.load(std::memory_order_acquire) <= round) {
      if (base::now_ns() < patience) continue;
      futex_wait(&answered, round, 10 * base::kMillisecond);
    }
    cost[round] = woken[round].load(std::memory_order_relaxed) - start;
  }
  sleeper.join();
  std::nth_element(cost.begin(), cost.begin() + kRounds / 2, cost.end());
  return cost[kRounds / 2];
}

// By affinity, and all of it: a process with a quota must not use it up by yielding to nobody.
bool one_cpu() {
  const base::CpuBudget budget = base::cpu_budget();
  return budget.affinity < 2 && (budget.quota == 0 || budget.quota >= 1);
}

}  // namespace

base::Nanos calibrated_yield_ns() {
  static const base::Nanos after = one_cpu() ? 0 : kYieldAfter;
  return after;
}

base::Nanos calibrated_spin_ns() {
  static const base::Nanos budget = [] {
    if (one_cpu()) return kSpinOneCpu;
    if (base::cpu_budget().usable() < 2) return base::Nanos{0};
    return std::clamp(3 * measure_wake(), base::kMicrosecond, kSpinMax);
  }();
  return budget;
}

FutexResult futex_wait(const std::atomic<std::uint32_t>* word, std::uint32_t expected,
                       base::Nanos timeout) {
  timeout = std::max<base::Nanos>(timeout, 1);
  const timespec relative{static_cast<time_t>(timeout / base::kSecond),
                          static_cast<long>(timeout % base::kSecond)};
  const long result = ::syscall(SYS_futex, word, FUTEX_WAIT, expected, &relative, nullptr, 0);
  return result != 0 && errno == ETIMEDOUT ? FutexResult::kTimedOut : FutexResult::kWoken;
}

void futex_wake(const std::atomic<std::uint32_t>* word) {
  ::syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, nullptr, nullptr, 0);
}

}  // namespace nacelle::shm
