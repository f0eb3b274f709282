// Waiting for a word that another process stores: spin for longer than a wake would cost, then
// sleep in the kernel.
//
// No wake-up is lost as long as both sides keep this order:
//
//   waker    store word (release)      full barrier   load waiting, and wake when it is set
//   waiter   store waiting (seq_cst)   re-check word  FUTEX_WAIT on the word's value
//
// Either the waiter sees the new word, or the waker sees the flag; the kernel closes the gap
// between the re-check and the sleep. Time-outs are a backstop only: a wait that one of them
// rescued counts.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

#include "sidecar/base/time.h"

namespace nacelle::shm {

// Tells the CPU that this is a spin loop.
inline void spin_pause() { __builtin_ia32_pause(); }

// Nanoseconds worth looking before sleeping: three times the measured cost of a wake between two
// CPUs of this machine, at most 100 µs. With one CPU by affinity 10 µs, each look followed by a
// yield (calibrated_yield_ns), since a spin would keep from running the one it waits for; under a
// quota of fewer than two CPUs 0. Measured once per process, in about a millisecond.
//
// Three times: a side that has just been woken answers after a whole wake, and after the system
// call by which it perhaps wakes somebody itself. A peer that no longer spins by then sleeps as
// well, has to be woken in its turn, and so on: one sleep, and both sides sleep on every message
// for ever. Never a learning average: after one sleep it would learn to always sleep.
base::Nanos calibrated_spin_ns();
inline constexpr base::Nanos kSpinMax = 100 * base::kMicrosecond;
inline constexpr base::Nanos kSpinOneCpu = 10 * base::kMicrosecond;

// A spin that lasts longer than this yields between its looks: perhaps the one it waits for wants
// the same CPU. Where nothing else runs, that is one quick system call; where both sides share a
// CPU, a spin would else use up its whole budget on each turn. 0 where they must share one.
base::Nanos calibrated_yield_ns();
inline constexpr base::Nanos kYieldAfter = 2 * base::kMicrosecond;

// Looks for `budget` nanoseconds whether done(). False when that was not long enough.
template <typename Done>
bool spin_until(base::Nanos budget, Done&& done) {
  if (done()) return true;
  if (budget == 0) return false;
  constexpr int kLooksPerClock = 16;
  const base::Nanos yield_after = calibrated_yield_ns();
  const int looks = yield_after > 0 ? kLooksPerClock : 1;
  base::Nanos begin = 0;  // not asked for before the first looks, which a quick answer ends
  base::Nanos spun = 0;
  do {
    for (int i = 0; i < looks; ++i) {
      if (done()) return true;
      spin_pause();
    }
    const base::Nanos now = base::now_ns();
    if (begin == 0) begin = now;
    spun = now - begin;
    if (spun >= yield_after) std::this_thread::yield();
  } while (spun < budget);
  return false;
}

enum class FutexResult { kWoken, kTimedOut };

// Sleeps while *word == expected, until a wake or for `timeout` nanoseconds (at least 1). Works on
// read-only mappings and between processes. Spurious wakes happen: re-check.
FutexResult futex_wait(const std::atomic<std::uint32_t>* word, std::uint32_t expected,
                       base::Nanos timeout);

// Wakes all who sleep on the word.
void futex_wake(const std::atomic<std::uint32_t>* word);

// The half of a generation that a futex can watch: the low one, first in little-endian order.
inline const std::atomic<std::uint32_t>* low_half(const std::atomic<std::uint64_t>* word) {
  return reinterpret_cast<const std::atomic<std::uint32_t>*>(word);
}

}  // namespace nacelle::shm
