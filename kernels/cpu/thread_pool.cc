// See thread_pool.h.
//
// Why no wake-up is lost: who goes to sleep first announces it (sleepers_, caller_sleeps_) and then
// looks at state_ again; who changes state_ looks at the announcement afterwards. All four are
// seq_cst, so at least one of the two sees the other. Announcing and sleeping happen under mutex_,
// which the waker takes before it notifies: the sleeper is then really asleep.
#include "kernels/cpu/thread_pool.h"

#include <immintrin.h>

#include <string>
#include <system_error>

#include "sidecar/base/cpus.h"
#include "sidecar/base/slices.h"

namespace nacelle::kernels::cpu {
namespace {

// A cross-core wake-up costs the sleeper about 20 us and the waker about 15 (measured on a virtual
// machine): spinning longer than both together costs more than it can save.
constexpr base::Nanos kSpin = 40 * base::kMicrosecond;

// Whether `done()` came true within `limit`. The clock is read once in a while only.
template <typename Condition>
bool spin_until(base::Nanos limit, Condition done) {
  if (done()) return true;
  if (limit == 0) return false;
  const base::Nanos end = base::now_ns() + limit;
  do {
    for (int i = 0; i < 16; ++i) {
      _mm_pause();
      if (done()) return true;
    }
  } while (base::now_ns() < end);
  return false;
}

}  // namespace

base::Result<std::unique_ptr<ThreadPool>> ThreadPool::create(unsigned threads) {
  if (threads < 1 || threads > kThreadsMax) {
    return base::Error{
        base::Code::kInvalid,
        std::to_string(threads) + " compute threads: use 1 to " + std::to_string(kThreadsMax)};
  }
  const bool room = threads <= base::cpu_budget().usable();
  std::unique_ptr<ThreadPool> pool(new ThreadPool(room ? kSpin : 0));
  pool->workers_.reserve(threads - 1);
  for (unsigned thread = 1; thread < threads; ++thread) {
    // The one exception of the standard library that is an answer: the system has no thread left.
    try {
      pool->workers_.emplace_back([self = pool.get(), thread] { self->work(thread); });
    } catch (const std::system_error& error) {
      return base::Error{base::Code::kUnavailable,
                         "cannot start compute thread " + std::to_string(thread) + " of " +
                             std::to_string(threads) + " (" + error.what() +
                             "): use fewer threads or raise the limit on processes"};
    }
  }
  return pool;
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(mutex_);
    stop_.store(true);
  }
  job_came_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run_job(std::uint32_t tasks, Call call, void* context) {
  call_ = call;
  context_ = context;
  tasks_ = tasks;
  next_task_.store(0, std::memory_order_relaxed);
  const std::uint64_t job = (state_.load(std::memory_order_relaxed) & ~(kJob - 1)) + kJob;
  // Publishes the fields above: pairs with the acquire of the exchange in work().
  state_.store(job | kOpen);
  if (sleepers_.load() != 0) {
    { const std::lock_guard lock(mutex_); }
    job_came_.notify_all();
  }

  take_tasks(0);

  // Close, so that nobody joins any more, and see off those inside. acquire: what they wrote.
  state_.fetch_and(~kOpen);
  const auto empty = [this] { return (state_.load() & kInside) == 0; };
  if (spin_until(spin_, empty)) return;
  std::unique_lock lock(mutex_);
  caller_sleeps_.store(true);
  workers_left_.wait(lock, empty);
  caller_sleeps_.store(false);
}

void ThreadPool::take_tasks(unsigned thread) {
  const std::uint32_t tasks = tasks_;
  // relaxed: the counter only deals out numbers; state_ orders the data. It cannot wrap: it passes
  // `tasks` by at most one for each thread.
  for (;;) {
    const std::uint32_t task = next_task_.fetch_add(1, std::memory_order_relaxed);
    if (task >= tasks) return;
    call_(context_, task, thread);
  }
}

bool ThreadPool::wait_for_job(std::uint64_t done) {
  const auto came = [this, done] {
    const std::uint64_t state = state_.load();
    return stop_.load() || ((state & kOpen) != 0 && (state & ~(kJob - 1)) != done);
  };
  if (!spin_until(spin_, came)) {
    std::unique_lock lock(mutex_);
    sleepers_.fetch_add(1);
    job_came_.wait(lock, came);
    sleepers_.fetch_sub(1);
  }
  return !stop_.load();
}

void ThreadPool::work(unsigned thread) {
  base::take_short_slices(base::kComputeSlice);
  std::uint64_t done = 0;  // the job this worker was in last; the first one has number 1
  while (wait_for_job(done)) {
    std::uint64_t state = state_.load();
    if ((state & kOpen) == 0) continue;  // closed meanwhile
    // Join: acquire, pairs with the store that opened the job. A failure means that somebody else
    // joined or the caller closed; look again.
    if (!state_.compare_exchange_strong(state, state + 1)) continue;
    done = state & ~(kJob - 1);
    take_tasks(thread);
    // Leave: release, so that the caller sees what our tasks wrote.
    if ((state_.fetch_sub(1) & kInside) == 1 && caller_sleeps_.load()) {
      { const std::lock_guard lock(mutex_); }
      workers_left_.notify_one();
    }
  }
}

}  // namespace nacelle::kernels::cpu
