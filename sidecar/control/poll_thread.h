// A thread that serves the connections of one listening socket by poll(), until its owner ends it.
// What a connection says and is told is the owner's: control/server.cc, control/http.cc.
#pragma once

#include <poll.h>

#include <cstddef>
#include <functional>
#include <thread>
#include <vector>

#include "sidecar/base/fd.h"
#include "sidecar/base/result.h"
#include "sidecar/base/time.h"

namespace nacelle::control {

class PollThread {
 public:
  // Takes a socket that listens and does not block. kUnavailable when the system has no descriptor.
  static base::Result<PollThread> of(base::Fd listener);
  PollThread(PollThread&&) = default;
  PollThread(const PollThread&) = delete;
  PollThread& operator=(const PollThread&) = delete;
  ~PollThread() = default;  // after stop(), if it was started

  // Runs `serve`, which returns when wait() answers false, with all signals blocked: SIGTERM is for
  // the main thread.
  void start(std::function<void()> serve);
  void stop();
  [[nodiscard]] int listener() const { return listener_.get(); }

  // The rest is for `serve`.
  //
  // What to wait for, anew each time: add() for connection 0, 1, ..., then wait().
  void begin() { polled_.resize(kOwn); }
  void add(int fd, short events) { polled_.push_back({.fd = fd, .events = events, .revents = 0}); }
  // Until something is ready, at most until `until`. False: the thread is to end.
  bool wait(base::Nanos until);
  // Of connection i, as added; 0 when nothing happened.
  [[nodiscard]] short events(std::size_t i) const { return polled_[kOwn + i].revents; }
  [[nodiscard]] std::size_t size() const { return polled_.size() - kOwn; }
  // Somebody who connects; none when nobody does. A system that is out of descriptors is left alone
  // for a moment: the connection stays in the backlog and would be announced again at once, for
  // ever.
  base::Fd accept();

 private:
  static constexpr std::size_t kOwn = 2;  // wake_ and listener_, in polled_
  PollThread(base::Fd listener, base::Fd wake);

  base::Fd listener_;
  base::Fd wake_;  // an eventfd: readable means stop
  std::vector<pollfd> polled_;
  base::Nanos accept_after_ = 0;
  std::thread thread_;
};

}  // namespace nacelle::control
