// Takes a process to any instruction of a stretch of its code, with ptrace, to be killed there.
//
// The process marks the stretch by calling marker(). record() single-steps through it once and
// notes where the process stood after each instruction: the boundaries. reach(k) takes a fresh
// process, forked from the same parent and so the same down to its addresses, to boundary k: with a
// breakpoint at the last address before k that is met there for the first time, and single steps
// from there. (Steps alone would cost the square of the length, at 50 us each.)
//
// What is not the process's own doing may differ between two runs: whether the sidecar sleeps,
// whether a reply is there. So reach() compares, and says when it went another way.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

namespace nacelle::crash {

enum class Marker : std::uint64_t {
  kReady = 1,  // before the stretch: the tracer may prepare the sidecar
  kBegin,      // the stretch begins behind it
  kSkip,       // what follows, until the next marker, is the caller's own work: run, not stepped
  kResume,     // the caller's own work is done
  kEnd,        // the stretch is over
};
// Stops the process for its tracer. Only in a process that is traced.
void marker(Marker which);
// In the child: from now on its parent traces it. False when that is not permitted.
bool let_parent_trace();

// Where the process stood.
struct Boundaries {
  std::vector<std::uint64_t> addresses;
  // The step to this boundary slept in the kernel until the sidecar was let go on.
  std::optional<std::size_t> slept;
};

class Stepper {
 public:
  // `on_sleep`, when given, is called when the process sleeps in the kernel instead of coming back
  // from a step. (Looking out for that costs time.)
  Stepper(pid_t pid, std::function<void()> on_sleep);

  // Goes on to the marker. False when the process meets another one or its end.
  bool run_to(Marker which);
  // From kBegin to kEnd; at most `most` steps. Nothing when that is not enough, when the process
  // ended, or when the clock ticked while it was read: that is a way that few will go again.
  // `look`, when given, is called at each boundary, while the process stands there.
  std::optional<Boundaries> record(std::size_t most, const std::function<void()>& look = {});
  // From kBegin to boundary k. False when the process went another way: where it is then is between
  // two instructions, too, but nobody knows which.
  bool reach(const Boundaries& boundaries, std::size_t k);
  // One more step into the system call at the boundary before `slept`. True once it sleeps there.
  bool fall_asleep();

 private:
  enum class Stop { kStep, kMarker, kEnded };
  Stop resume(int request);
  Stop step();
  Stop wait();
  Stop wait_or_sleep(bool wake);
  Stop stopped(int status);
  [[nodiscard]] std::uint64_t address() const;
  [[nodiscard]] bool sleeps() const;
  bool run_to_address(std::uint64_t target);
  void poke(std::uint64_t target, long word) const;

  pid_t pid_;
  std::function<void()> on_sleep_;
  bool running_ = true;
  bool slept_ = false;  // in the last resume()
  Marker at_ = Marker::kReady;
};

}  // namespace nacelle::crash
