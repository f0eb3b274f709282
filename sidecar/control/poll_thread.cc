#include "sidecar/control/poll_thread.h"

#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <utility>

#include "sidecar/base/check.h"
#include "sidecar/base/file.h"

namespace nacelle::control {
namespace {

// After the system ran out of descriptors, how long until the next attempt to accept.
constexpr base::Nanos kAcceptPause = 100 * base::kMillisecond;
constexpr base::Nanos kWaitMax = 3'600 * base::kSecond;

}  // namespace

base::Result<PollThread> PollThread::of(base::Fd listener) {
  base::Fd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return base::Error{base::Code::kUnavailable, base::errno_text(errno)};
  return PollThread(std::move(listener), std::move(wake));
}

PollThread::PollThread(base::Fd listener, base::Fd wake)
    : listener_(std::move(listener)), wake_(std::move(wake)) {
  polled_ = {{.fd = wake_.get(), .events = POLLIN, .revents = 0},
             {.fd = listener_.get(), .events = POLLIN, .revents = 0}};
}

void PollThread::start(std::function<void()> serve) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);  // inherited by the thread
  thread_ = std::thread(std::move(serve));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void PollThread::stop() {
  const std::uint64_t one = 1;
  // An eventfd that nobody else writes cannot be full.
  CHECK(::write(wake_.get(), &one, sizeof one) == sizeof one);
  thread_.join();
}

bool PollThread::wait(base::Nanos until) {
  const base::Nanos now = base::now_ns();
  const bool paused = accept_after_ > now;
  if (paused) until = std::min(until, accept_after_);
  polled_[1].fd = paused ? -1 : listener_.get();
  // Rounded up, so that it never wakes before the deadline and spins.
  const base::Nanos left = std::clamp<base::Nanos>(until - now, 0, kWaitMax);
  const auto milliseconds = static_cast<int>((left + base::kMillisecond - 1) / base::kMillisecond);
  if (::poll(polled_.data(), polled_.size(), milliseconds) < 0) {
    // EINTR, or ENOMEM for a moment: nothing is known to be ready.
    for (pollfd& entry : polled_) entry.revents = 0;
  }
  return polled_[0].revents == 0;
}

base::Fd PollThread::accept() {
  if (polled_[1].revents == 0) return {};
  base::Fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  const bool gone = errno == EAGAIN || errno == ECONNABORTED || errno == EINTR;
  if (!fd && !gone) accept_after_ = base::now_ns() + kAcceptPause;
  return fd;
}

}  // namespace nacelle::control
