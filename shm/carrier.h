// The client's end of a connection without shared memory: sends what a Link writes into its copy of
// A, and writes what the sidecar sends into its copy of B, waking whoever sleeps there.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <span>
#include <thread>

#include "shm/carry.h"
#include "shm/region.h"
#include "sidecar/base/fd.h"
#include "sidecar/base/result.h"
#include "sidecar/base/time.h"

namespace nacelle::shm {

class Carrier {
 public:
  // `socket` and `replies` outlive it. Receives on a thread of its own.
  Carrier(int socket, std::span<std::byte> replies);
  ~Carrier();
  Carrier(const Carrier&) = delete;
  Carrier& operator=(const Carrier&) = delete;

  // Several messages that belong together, from any thread. False: the sidecar is gone, or has not
  // read for so long that it might as well be; then the connection is shut down.
  [[nodiscard]] bool bytes(std::uint64_t offset, std::span<const std::byte> bytes);
  [[nodiscard]] bool store32(std::uint64_t offset, std::uint32_t value);
  [[nodiscard]] bool store64(std::uint64_t offset, std::uint64_t value);

  // Readable when something came since drain().
  [[nodiscard]] int poll_fd() const { return event_.get(); }
  void drain();
  // For a forked child, in which the thread does not exist.
  void close_inherited() { event_.reset(); }

 private:
  template <typename Send>
  bool send(Send&& send);
  void run();

  int socket_;
  CarryReader reader_;
  std::span<std::byte> replies_;
  base::Fd event_;  // nobody else has it
  std::mutex mutex_;
  std::thread thread_;
};

// The sidecar's first message: the header of B. kUnavailable when it does not come until
// `deadline`.
base::Status receive_header(int socket, std::span<std::byte> replies, base::Nanos deadline);

}  // namespace nacelle::shm
