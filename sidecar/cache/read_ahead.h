// One thread fills blocks while another one uses them, in the same order.
#pragma once

#include <array>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <system_error>
#include <thread>

namespace nacelle::cache {

// Calls fill(block) until it returns false, and use(block) for each block that it filled. fill()
// runs on a thread of its own when `ahead` says so and the machine has one to give; use() on this
// one.
template <typename Block, typename Fill, typename Use>
void read_ahead(bool ahead, const Fill& fill, const Use& use) {
  constexpr std::size_t kBlocks = 4;
  std::array<Block, kBlocks> blocks;
  std::mutex mutex;
  std::condition_variable changed;
  std::size_t filled = 0;  // counts; blocks[count % kBlocks]
  std::size_t used = 0;
  bool over = false;
  const auto produce = [&] {
    for (std::size_t next = 0;; ++next) {
      {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return next - used < kBlocks; });
      }
      const bool more = fill(blocks[next % kBlocks]);
      const std::lock_guard lock(mutex);
      if (more) {
        filled = next + 1;
      } else {
        over = true;
      }
      changed.notify_one();
      if (!more) return;
    }
  };
  std::thread thread;
  if (ahead) {
    try {
      thread = std::thread(produce);
    } catch (const std::system_error&) {
      ahead = false;  // no thread to be had: this one can do both
    }
  }
  if (!ahead) {
    while (fill(blocks[0])) use(blocks[0]);
    return;
  }
  for (std::size_t next = 0;; ++next) {
    {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return filled > next || over; });
      if (filled <= next) break;
    }
    use(blocks[next % kBlocks]);
    const std::lock_guard lock(mutex);
    used = next + 1;
    changed.notify_one();
  }
  thread.join();
}

}  // namespace nacelle::cache
