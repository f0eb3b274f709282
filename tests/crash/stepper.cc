#include "tests/crash/stepper.h"

#include <sched.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <string>
#include <unordered_set>
#include <utility>

#include "sidecar/base/check.h"

// marker(): a breakpoint in a function of its own, so that the tracer knows it by its address.
asm(R"(
.text
.globl nacelle_crash_marker
.type nacelle_crash_marker, @function
nacelle_crash_marker:
  int3
.globl nacelle_crash_marked
nacelle_crash_marked:
  ret
.size nacelle_crash_marker, . - nacelle_crash_marker
)");
extern "C" {
void nacelle_crash_marker(std::uint64_t which);
void nacelle_crash_marked();
}

namespace nacelle::crash {
namespace {

constexpr long kBreakpoint = 0xCC;

std::uint64_t marked() { return reinterpret_cast<std::uint64_t>(&nacelle_crash_marked); }

// The marker's own breakpoint and what is behind it: the process stops there by itself, and more
// than once.
bool of_a_marker(std::uint64_t address) {
  return address == marked() || address == reinterpret_cast<std::uint64_t>(&nacelle_crash_marker);
}

// The code of the kernel that tells the time without a system call. It begins anew when the clock
// ticks meanwhile: often at our pace, hardly ever at the process's own.
bool of_the_clock(std::uint64_t address) {
  constexpr std::uint64_t kSizeMax = 0x4000;
  static const std::uint64_t begin = ::getauxval(AT_SYSINFO_EHDR);
  return address >= begin && address < begin + kSizeMax;
}

}  // namespace

void marker(Marker which) { nacelle_crash_marker(static_cast<std::uint64_t>(which)); }

bool let_parent_trace() { return ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) == 0; }

Stepper::Stepper(pid_t pid, std::function<void()> on_sleep)
    : pid_(pid), on_sleep_(std::move(on_sleep)) {}

std::uint64_t Stepper::address() const {
  errno = 0;
  const long rip = ::ptrace(PTRACE_PEEKUSER, pid_, offsetof(user, regs.rip), nullptr);
  CHECK(errno == 0);
  return static_cast<std::uint64_t>(rip);
}

// The state in /proc/PID/stat, behind the name in brackets.
bool Stepper::sleeps() const {
  std::ifstream file("/proc/" + std::to_string(pid_) + "/stat");
  std::string line;
  std::getline(file, line);
  const std::size_t name_end = line.rfind(')');
  return name_end != std::string::npos && line.size() > name_end + 2 && line[name_end + 2] == 'S';
}

// What a stop that waitpid() told of means.
Stepper::Stop Stepper::stopped(int status) {
  if (!WIFSTOPPED(status)) return Stop::kEnded;
  // Only our own traps are expected; anything else is a crash of the process.
  if (WSTOPSIG(status) != SIGTRAP) {
    std::printf("the traced process got signal %d at %#llx\n", WSTOPSIG(status),
                static_cast<unsigned long long>(address()));
    return Stop::kEnded;
  }
  if (address() != marked()) return Stop::kStep;
  at_ = static_cast<Marker>(::ptrace(PTRACE_PEEKUSER, pid_, offsetof(user, regs.rdi), nullptr));
  return Stop::kMarker;
}

// Waits for the process to stop; or, when it does not since it sleeps, wakes it or leaves it.
Stepper::Stop Stepper::wait_or_sleep(bool wake) {
  slept_ = false;
  for (;;) {
    int status = 0;
    const pid_t changed = ::waitpid(pid_, &status, WNOHANG | __WALL);
    CHECK(changed >= 0);
    if (changed != 0) return stopped(status);
    if (!slept_ && sleeps()) {
      slept_ = true;
      if (!wake) return Stop::kStep;
      on_sleep_();
    }
    ::sched_yield();
  }
}

Stepper::Stop Stepper::wait() {
  if (on_sleep_) return wait_or_sleep(true);
  int status = 0;
  CHECK(::waitpid(pid_, &status, __WALL) == pid_);
  return stopped(status);
}

Stepper::Stop Stepper::resume(int request) {
  CHECK(::ptrace(static_cast<__ptrace_request>(request), pid_, nullptr, nullptr) == 0);
  return wait();
}

// One boundary further.
Stepper::Stop Stepper::step() {
  const bool skip = at_ == Marker::kSkip && address() == marked();
  return resume(skip ? PTRACE_CONT : PTRACE_SINGLESTEP);
}

bool Stepper::run_to(Marker which) {
  // A new process is on its way already.
  const Stop stop = std::exchange(running_, false) ? wait() : resume(PTRACE_CONT);
  return stop == Stop::kMarker && at_ == which;
}

std::optional<Boundaries> Stepper::record(std::size_t most, const std::function<void()>& look) {
  Boundaries boundaries;
  boundaries.addresses.push_back(address());
  std::unordered_set<std::uint64_t> in_clock;  // since the process asked for the time
  while (boundaries.addresses.size() < most) {
    if (look) look();
    const Stop stop = step();
    if (stop == Stop::kEnded) return std::nullopt;
    if (slept_ && !boundaries.slept) boundaries.slept = boundaries.addresses.size();
    const std::uint64_t here = address();
    boundaries.addresses.push_back(here);
    if (stop == Stop::kMarker && at_ == Marker::kEnd) return boundaries;
    if (!of_the_clock(here)) {
      in_clock.clear();
    } else if (!in_clock.insert(here).second) {
      return std::nullopt;
    }
  }
  return std::nullopt;
}

void Stepper::poke(std::uint64_t target, long word) const {
  CHECK(::ptrace(PTRACE_POKETEXT, pid_, target, word) == 0);
}

bool Stepper::run_to_address(std::uint64_t target) {
  errno = 0;
  const long word = ::ptrace(PTRACE_PEEKTEXT, pid_, target, nullptr);
  CHECK(errno == 0);
  const long planted = (word & ~0xFFL) | kBreakpoint;
  poke(target, planted);
  for (;;) {
    const Stop stop = resume(PTRACE_CONT);
    if (stop == Stop::kEnded) return false;
    if (stop == Stop::kMarker) {
      if (at_ == Marker::kEnd) return false;
      continue;
    }
    CHECK(address() == target + 1);
    poke(target, word);
    CHECK(::ptrace(PTRACE_POKEUSER, pid_, offsetof(user, regs.rip), target) == 0);
    // The caller's own work may come by here, too: that is not the boundary.
    if (at_ != Marker::kSkip) return true;
    if (resume(PTRACE_SINGLESTEP) == Stop::kEnded) return false;
    poke(target, planted);
  }
}

bool Stepper::reach(const Boundaries& boundaries, std::size_t k) {
  const std::vector<std::uint64_t>& addresses = boundaries.addresses;
  CHECK(k < addresses.size());
  // The last boundary up to k at whose address the process was not before.
  std::unordered_set<std::uint64_t> met;
  std::size_t first = 0;
  for (std::size_t i = 0; i <= k; ++i) {
    if (met.insert(addresses[i]).second && !of_a_marker(addresses[i])) first = i;
  }
  if (first > 0 && !run_to_address(addresses[first])) return false;
  for (std::size_t i = first; i < k; ++i) {
    if (step() == Stop::kEnded || address() != addresses[i + 1]) return false;
  }
  return address() == addresses[k];
}

bool Stepper::fall_asleep() {
  CHECK(::ptrace(PTRACE_SINGLESTEP, pid_, nullptr, nullptr) == 0);
  return wait_or_sleep(false) == Stop::kStep && slept_;
}

}  // namespace nacelle::crash
