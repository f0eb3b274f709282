// The thread pool: every task exactly once, on any number of threads, job after job.
#include "kernels/cpu/thread_pool.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <time.h>

#include <atomic>
#include <set>
#include <vector>

#include "sidecar/base/check.h"
#include "sidecar/base/time.h"

namespace nacelle::kernels::cpu {
namespace {

std::unique_ptr<ThreadPool> pool_of(unsigned threads) {
  auto pool = ThreadPool::create(threads);
  CHECK(pool.has_value());
  return *std::move(pool);
}

TEST(ThreadPool, EveryTaskRunsOnceAndItsWritesAreSeen) {
  for (const unsigned threads : {1U, 2U, 3U, 5U, 16U}) {
    const auto pool = pool_of(threads);
    EXPECT_EQ(pool->threads(), threads);
    for (const std::uint32_t tasks : {0U, 1U, 2U, 3U, 7U, 100U, 1000U}) {
      std::vector<int> runs(tasks);  // plain memory: the pool must order it
      pool->run(tasks, [&](std::uint32_t task, unsigned thread) {
        ASSERT_LT(thread, threads);
        ++runs[task];
      });
      for (std::uint32_t task = 0; task < tasks; ++task) {
        ASSERT_EQ(runs[task], 1) << task << " of " << tasks << " on " << threads;
      }
    }
  }
}

TEST(ThreadPool, ManySmallJobsInARowLoseNone) {
  for (const unsigned threads : {2U, 7U}) {
    const auto pool = pool_of(threads);
    std::vector<std::uint64_t> sums(8);
    for (std::uint64_t job = 0; job < 5000; ++job) {
      pool->run(8, [&](std::uint32_t task, unsigned) { sums[task] += job; });
    }
    for (const std::uint64_t sum : sums) EXPECT_EQ(sum, 5000ULL * 4999 / 2);
  }
}

// Scratch memory is kept per thread number: two calls at the same time must never share one.
TEST(ThreadPool, SimultaneousTasksHaveDifferentThreadNumbers) {
  const auto pool = pool_of(5);
  std::atomic<int> inside[5] = {};
  std::atomic<bool> shared = false;
  for (int job = 0; job < 200; ++job) {
    pool->run(20, [&](std::uint32_t, unsigned thread) {
      if (inside[thread].fetch_add(1) != 0) shared = true;
      inside[thread].fetch_sub(1);
    });
  }
  EXPECT_FALSE(shared);
}

// Both tasks wait for the other one: passes only when two threads are really in the job.
TEST(ThreadPool, AWorkerHelps) {
  const auto pool = pool_of(2);
  for (int job = 0; job < 20; ++job) {
    std::atomic<int> arrived = 0;
    pool->run(2, [&](std::uint32_t, unsigned) {
      arrived.fetch_add(1);
      while (arrived.load() < 2) std::this_thread::yield();
    });
    EXPECT_EQ(arrived.load(), 2);
  }
}

// The same from sleep: the first job comes when the workers have given up spinning.
TEST(ThreadPool, ASleepingTeamWakesForTheNextJob) {
  for (const unsigned threads : {2U, 6U}) {
    const auto pool = pool_of(threads);
    for (int round = 0; round < 5; ++round) {
      // Workers sleep once they use no CPU any more; until then this waits, bounded.
      const auto cpu_ns = [] {
        timespec time{};
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
        return time.tv_sec * base::kSecond + time.tv_nsec;
      };
      const base::Nanos end = base::now_ns() + 5 * base::kSecond;
      base::Nanos own = 0;
      base::Nanos all = 1;
      do {  // a stretch in which only this thread used the CPU: within 10 %
        timespec thread{};
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &thread);
        const base::Nanos own_before = thread.tv_sec * base::kSecond + thread.tv_nsec;
        const base::Nanos all_before = cpu_ns();
        while (cpu_ns() - all_before < base::kMillisecond) {
        }
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &thread);
        own = thread.tv_sec * base::kSecond + thread.tv_nsec - own_before;
        all = cpu_ns() - all_before;
      } while (own * 10 < all * 9 && base::now_ns() < end);
      ASSERT_LT(base::now_ns(), end) << "the workers of an idle pool never stop using the CPU";

      std::atomic<unsigned> arrived = 0;
      pool->run(threads, [&](std::uint32_t, unsigned) {
        arrived.fetch_add(1);
        while (arrived.load() < threads) std::this_thread::yield();
      });
      EXPECT_EQ(arrived.load(), threads);
    }
  }
}

TEST(ThreadPool, TeamsComeAndGo) {
  for (int round = 0; round < 100; ++round) {
    const auto pool = pool_of(static_cast<unsigned>(1 + round % 6));
    if (round % 2 == 0) continue;  // destroyed without ever having had a job
    std::atomic<int> runs = 0;
    pool->run(10, [&](std::uint32_t, unsigned) { runs.fetch_add(1); });
    EXPECT_EQ(runs.load(), 10);
  }
}

TEST(ThreadPool, ImpossibleTeamsAreErrors) {
  EXPECT_EQ(ThreadPool::create(0).error().code, base::Code::kInvalid);
  EXPECT_EQ(ThreadPool::create(ThreadPool::kThreadsMax + 1).error().code, base::Code::kInvalid);
}

}  // namespace
}  // namespace nacelle::kernels::cpu
