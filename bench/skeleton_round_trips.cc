// See skeleton_round_trips.h.
#include "bench/skeleton_round_trips.h"

#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>
#include <thread>

namespace nacelle::bench {
namespace {

using base::Code;
using base::Error;
using base::Nanos;

constexpr std::size_t kLine = 64;

bool pin_to(unsigned cpu) {
  if (cpu >= CPU_SETSIZE) return false;
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(cpu, &cpus);
  return sched_setaffinity(0, sizeof cpus, &cpus) == 0;
}

// Each side stores into its own line and watches the other's.
struct Lines {
  alignas(2 * kLine) std::atomic<std::uint32_t> ping{0};
  alignas(2 * kLine) std::atomic<std::uint32_t> pong{0};
  alignas(2 * kLine) std::atomic<int> pinned{-1};  // of the answering thread; -1: not yet known
};

// read() and write() on a stream may stop early. False at the end of the stream or on an error.
template <typename Call, typename Byte>
bool all_of(Call call, int socket, Byte* bytes, std::size_t size) {
  while (size > 0) {
    const ssize_t done = call(socket, bytes, size);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return false;
    bytes += done;
    size -= static_cast<std::size_t>(done);
  }
  return true;
}

}  // namespace

base::Result<std::vector<Nanos>> cache_line_round_trips(unsigned count, unsigned here,
                                                        unsigned there) {
  if (count == 0 || count > kRoundTripsMax || here == there) {
    return Error{Code::kInvalid, "round trips: a count up to 10,000,000 and two CPUs are needed"};
  }
  std::vector<Nanos> times(count);
  Lines lines;
  std::thread other([&] {
    const bool pinned = pin_to(there);
    lines.pinned.store(pinned ? 1 : 0, std::memory_order_release);
    if (!pinned) return;
    for (std::uint32_t i = 1; i <= count; ++i) {
      while (lines.ping.load(std::memory_order_acquire) != i) {
      }
      lines.pong.store(i, std::memory_order_release);
    }
  });
  // On a thread of its own too, so that the caller keeps its affinity.
  bool pinned = false;
  std::thread self([&] {
    const bool mine = pin_to(here);
    int theirs = -1;
    while ((theirs = lines.pinned.load(std::memory_order_acquire)) < 0) std::this_thread::yield();
    pinned = mine && theirs == 1;
    // Answers even when it could not be pinned: the other thread counts on it.
    for (std::uint32_t i = 1; theirs == 1 && i <= count; ++i) {
      const Nanos begin = base::now_ns();
      lines.ping.store(i, std::memory_order_release);
      while (lines.pong.load(std::memory_order_acquire) != i) {
      }
      times[i - 1] = base::now_ns() - begin;
    }
  });
  self.join();
  other.join();
  if (!pinned) {
    return Error{Code::kUnavailable, "cannot pin threads to CPUs " + std::to_string(here) +
                                         " and " + std::to_string(there)};
  }
  return times;
}

base::Result<std::vector<Nanos>> socket_round_trips(unsigned count) {
  if (count == 0 || count > kRoundTripsMax) {
    return Error{Code::kInvalid, "echoes: a count up to 10,000,000 is needed"};
  }
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return Error{Code::kUnavailable, std::string("cannot make a socket: ") + std::strerror(errno)};
  }
  std::thread other([&] {
    std::array<char, kMessageSize> message;
    while (all_of(::read, ends[1], message.data(), message.size()) &&
           all_of(::write, ends[1], message.data(), message.size())) {
    }
    close(ends[1]);
  });
  std::vector<Nanos> times(count);
  std::array<char, kMessageSize> sent{};
  std::array<char, kMessageSize> received{};
  unsigned good = 0;
  for (; good < count; ++good) {
    std::memcpy(sent.data(), &good, sizeof good);
    const Nanos begin = base::now_ns();
    if (!all_of(::write, ends[0], sent.data(), sent.size()) ||
        !all_of(::read, ends[0], received.data(), received.size())) {
      break;
    }
    times[good] = base::now_ns() - begin;
    if (received != sent) break;
  }
  close(ends[0]);  // the other side sees the end of the stream
  other.join();
  if (good < count) return Error{Code::kInternal, "the socket did not echo what was sent"};
  return times;
}

}  // namespace nacelle::bench
