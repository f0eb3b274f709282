// Processes that tests start, stop and kill: clients forked from the test, and nacelled itself.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <cstddef>
#include <functional>
#include <new>
#include <optional>
#include <string>
#include <utility>

#include "sidecar/base/time.h"

namespace nacelle::crash {

// In which namespaces a process begins.
struct Namespaces {
  bool pid_and_user = false;  // its own: it is process 1 and root there
  bool time = false;          // a monotonic clock that is a day ahead
  [[nodiscard]] bool any() const { return pid_and_user || time; }
};
// Why this machine does not let us have these; nothing when it does.
std::optional<std::string> not_permitted(const Namespaces& namespaces);

// A child process with one owner, who kills it at the latest in the destructor.
class Process {
 public:
  Process() = default;
  // Forks, runs `body` in the child and leaves with what it returns. For a test with one thread.
  // The child dies with the test.
  static Process fork(const std::function<int()>& body, const Namespaces& namespaces = {});
  Process(Process&& other) noexcept : pid_(std::exchange(other.pid_, 0)) {}
  Process& operator=(Process&& other) noexcept {
    std::swap(pid_, other.pid_);
    return *this;
  }
  ~Process() { kill(); }

  [[nodiscard]] pid_t pid() const { return pid_; }
  explicit operator bool() const { return pid_ > 0; }
  // SIGKILL, and waits for the end. When it was over: wall_ns(). Does nothing without a process.
  base::Nanos kill();
  // SIGSTOP, and waits until all its threads stand still; SIGCONT.
  void stop();
  void go_on() const;
  // Whether it has left and wait() will not block.
  [[nodiscard]] bool ended() const;
  // Waits for it to leave by itself; its exit status, or 1000 + the signal that ended it.
  int wait();

 private:
  explicit Process(pid_t pid) : pid_(pid) {}
  pid_t pid_ = 0;
};

// One T in memory that this process and all its children have, zeroed. It stays to the end.
void* shared_memory(std::size_t size);
template <typename T>
T& shared() {
  return *new (shared_memory(sizeof(T))) T();
}

// Waits until `done` says so, looking every 100 us or so. False after `limit`: something is stuck.
bool eventually(const std::function<bool()>& done, base::Nanos limit = 30 * base::kSecond);

}  // namespace nacelle::crash
