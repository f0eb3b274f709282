// Clients that cannot share memory: the relay is their stand-in inside the sidecar.
//
//   client ──messages on its socket──▶ relay ──regions, as any client──▶ intake, replier
//
// For each of them it holds a connection like every other client's, with memory shared between the
// relay and the stages: it writes what the messages say into the request region and sends what
// appears in the reply region. So nothing behind it knows of sockets, and what such a client lies
// about is found out where every client's lies are (shm/carry.h has the messages).
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "shm/shm.h"
#include "sidecar/base/fd.h"
#include "sidecar/base/result.h"

namespace nacelle::sidecar {

class Relay {
 public:
  Relay();
  ~Relay();
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  // Any thread. `remote` is the client's socket, `local` the other end of its connection's socket,
  // on which the welcome is waiting.
  base::Status add(base::Fd remote, base::Fd local);

 private:
  class Peer;

  void run();
  void take_added();
  void serve(Peer& peer);
  bool watch(int fd, std::uint32_t events);

  base::Fd epoll_;
  base::Fd event_;                            // something was added, or the end
  std::vector<std::unique_ptr<Peer>> peers_;  // the thread's own; as many as there are connections

  std::mutex mutex_;  // guards the rest
  std::vector<std::unique_ptr<Peer>> added_;
  std::thread thread_;  // started with the first client
  std::atomic<bool> stopping_{false};
};

}  // namespace nacelle::sidecar
