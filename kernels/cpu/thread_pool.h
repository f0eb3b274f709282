// A fixed team of threads that works off numbered tasks, the calling thread among them.
//
// Between two jobs a worker spins for a moment, because the next op of a forward pass comes within
// microseconds while a sleeper needs tens of them to wake; then it sleeps and costs nothing. Where
// there are more threads than CPUs nobody spins.
//
// The caller never waits for a worker that has not started on the job: one that wakes late finds
// the job closed and goes back to sleep. So a busy machine slows a job down by the tasks that its
// workers hold, not by their scheduling.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "sidecar/base/result.h"
#include "sidecar/base/time.h"

namespace nacelle::kernels::cpu {

class ThreadPool {
 public:
  static constexpr unsigned kThreadsMax = 1024;

  // A team of `threads`, the caller's own included: 1 starts none, and run() is a plain loop.
  // kInvalid for 0 or more than kThreadsMax, kUnavailable when the system refuses a thread.
  static base::Result<std::unique_ptr<ThreadPool>> create(unsigned threads);

  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  ~ThreadPool();

  [[nodiscard]] unsigned threads() const { return static_cast<unsigned>(workers_.size()) + 1; }

  // Calls function(task, thread) once for every task in [0, tasks), in any order on any thread, and
  // returns when all have returned. `thread` is below threads() and tells simultaneous calls apart.
  // One caller at a time; a task may not call run().
  template <typename Function>
  void run(std::uint32_t tasks, Function&& function) {
    if (tasks <= 1 || workers_.empty()) {
      for (std::uint32_t task = 0; task < tasks; ++task) function(task, 0U);
      return;
    }
    run_job(
        tasks,
        [](void* context, std::uint32_t task, unsigned thread) {
          (*static_cast<std::remove_reference_t<Function>*>(context))(task, thread);
        },
        const_cast<void*>(static_cast<const void*>(&function)));  // its own type again inside
  }

 private:
  using Call = void (*)(void* context, std::uint32_t task, unsigned thread);

  // state_ in one word: the job's number (upper 32 bits), whether it may still be joined, and how
  // many workers are inside it.
  static constexpr std::uint64_t kJob = std::uint64_t{1} << 32;
  static constexpr std::uint64_t kOpen = std::uint64_t{1} << 31;
  static constexpr std::uint64_t kInside = kOpen - 1;

  explicit ThreadPool(base::Nanos spin) : spin_(spin) {}
  void run_job(std::uint32_t tasks, Call call, void* context);
  void work(unsigned thread);             // a worker's life
  void take_tasks(unsigned thread);       // until none are left
  bool wait_for_job(std::uint64_t done);  // until there is one other than `done`; false: stop

  const base::Nanos spin_;
  std::vector<std::thread> workers_;

  // The job. Written while it is closed and nobody is inside, so plain.
  Call call_ = nullptr;
  void* context_ = nullptr;
  std::uint32_t tasks_ = 0;

  // Apart, because one line changes with every task and the other is what spinners read.
  alignas(64) std::atomic<std::uint32_t> next_task_{0};
  alignas(64) std::atomic<std::uint64_t> state_{0};
  std::atomic<bool> stop_{false};

  alignas(64) std::mutex mutex_;  // for sleeping only
  std::condition_variable job_came_;
  std::condition_variable workers_left_;
  std::atomic<unsigned> sleepers_{0};
  std::atomic<bool> caller_sleeps_{false};
};

}  // namespace nacelle::kernels::cpu
