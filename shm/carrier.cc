#include "shm/carrier.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "shm/wait.h"
#include "sidecar/base/check.h"

namespace nacelle::shm {
namespace {

// A sidecar that has not read a message for so long has stopped.
constexpr base::Nanos kSendWithin = 5 * base::kSecond;

bool wait_for(int socket, short events, base::Nanos deadline) {
  const base::Nanos left = deadline - base::now_ns();
  if (left <= 0) return false;
  pollfd entry{socket, events, 0};
  return ::poll(&entry, 1, static_cast<int>(left / base::kMillisecond + 1)) != 0;
}

}  // namespace

Carrier::Carrier(int socket, std::span<std::byte> replies)
    : socket_(socket),
      reader_(replies),
      replies_(replies),
      event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      thread_([this] { run(); }) {}

Carrier::~Carrier() {
  ::shutdown(socket_, SHUT_RDWR);
  thread_.join();
}

template <typename Send>
bool Carrier::send(Send&& send) {
  const std::lock_guard lock(mutex_);
  const base::Nanos deadline = base::now_ns() + kSendWithin;
  for (;;) {
    const Carried sent = send();
    if (sent == Carried::kDone) return true;
    if (sent == Carried::kNothing && wait_for(socket_, POLLOUT, deadline)) continue;
    ::shutdown(socket_, SHUT_RDWR);  // half a request must not be followed by another
    return false;
  }
}

bool Carrier::bytes(std::uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const auto part = bytes.first(std::min(bytes.size(), kCarryBytesMax));
    if (!send([&] { return send_bytes(socket_, offset, part); })) return false;
    offset += part.size();
    bytes = bytes.subspan(part.size());
  }
  return true;
}

bool Carrier::store32(std::uint64_t offset, std::uint32_t value) {
  return send([&] { return send_store(socket_, Carry::kStore32, offset, value); });
}

bool Carrier::store64(std::uint64_t offset, std::uint64_t value) {
  return send([&] { return send_store(socket_, Carry::kStore64, offset, value); });
}

void Carrier::drain() {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t size = ::read(event_.get(), &count, sizeof count);
}

void Carrier::run() {
  const std::uint64_t one = 1;
  for (;;) {
    CarryHeader message;
    const Carried carried = reader_.receive(socket_, &message);
    if (carried == Carried::kNothing) {
      pollfd entry{socket_, POLLIN, 0};
      ::poll(&entry, 1, -1);
      continue;
    }
    if (carried != Carried::kDone) {
      ::shutdown(socket_, SHUT_RDWR);  // callers see the hang-up
    } else if (message.kind != static_cast<std::uint32_t>(Carry::kBytes)) {
      reader_.store(message);
      futex_wake(
          reinterpret_cast<const std::atomic<std::uint32_t>*>(replies_.data() + message.offset));
    } else {
      continue;
    }
    [[maybe_unused]] const ssize_t rung = ::write(event_.get(), &one, sizeof one);
    if (carried != Carried::kDone) return;
  }
}

base::Status receive_header(int socket, std::span<std::byte> replies, base::Nanos deadline) {
  CarryReader reader(replies);
  for (;;) {
    CarryHeader message;
    switch (reader.receive(socket, &message)) {
      case Carried::kDone:
        if (message.kind == static_cast<std::uint32_t>(Carry::kBytes) && message.offset == 0) {
          return base::ok();
        }
        [[fallthrough]];
      case Carried::kBroken:
        return base::Error{base::Code::kInvalid, "the sidecar did not begin with its header"};
      case Carried::kGone:
        return base::Error{base::Code::kSidecarGone, "the sidecar hung up during the handshake"};
      case Carried::kNothing:
        if (wait_for(socket, POLLIN, deadline)) continue;
        return base::Error{base::Code::kDeadlineExceeded, "the sidecar did not answer in time"};
    }
  }
}

}  // namespace nacelle::shm
