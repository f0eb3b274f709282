#include "shm/carry.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "sidecar/base/bytes.h"
#include "sidecar/base/check.h"

namespace nacelle::shm {
namespace {

Carried send_message(int socket, const CarryHeader& header, std::span<const std::byte> bytes) {
  iovec parts[2] = {{const_cast<CarryHeader*>(&header), sizeof header},
                    {const_cast<std::byte*>(bytes.data()), bytes.size()}};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  for (;;) {
    if (::sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return Carried::kDone;
    if (errno == EINTR) continue;
    return errno == EAGAIN || errno == ENOBUFS ? Carried::kNothing : Carried::kGone;
  }
}

}  // namespace

Carried send_bytes(int socket, std::uint64_t offset, std::span<const std::byte> bytes) {
  CHECK(bytes.size() <= kCarryBytesMax);
  return send_message(
      socket, {static_cast<std::uint32_t>(Carry::kBytes), static_cast<std::uint32_t>(offset), 0},
      bytes);
}

Carried send_store(int socket, Carry kind, std::uint64_t offset, std::uint64_t value) {
  return send_message(
      socket, {static_cast<std::uint32_t>(kind), static_cast<std::uint32_t>(offset), value}, {});
}

CarryReader::CarryReader(std::span<std::byte> region)
    : region_(region), buffer_(sizeof(CarryHeader) + kCarryBytesMax) {}

Carried CarryReader::receive(int socket, CarryHeader* message) {
  ssize_t count = 0;
  do {
    count = ::recv(socket, buffer_.data(), buffer_.size(), MSG_DONTWAIT | MSG_TRUNC);
  } while (count < 0 && errno == EINTR);
  if (count < 0 && errno == EAGAIN) return Carried::kNothing;
  if (count <= 0) return Carried::kGone;
  const auto size = static_cast<std::size_t>(count);
  if (size < sizeof *message || size > buffer_.size()) return Carried::kBroken;
  std::memcpy(message, buffer_.data(), sizeof *message);
  const std::size_t bytes = size - sizeof *message;
  switch (static_cast<Carry>(message->kind)) {
    case Carry::kBytes:
      if (!base::fits(message->offset, bytes, region_.size())) return Carried::kBroken;
      base::copy_bytes(region_.data() + message->offset, buffer_.data() + sizeof *message, bytes);
      return Carried::kDone;
    case Carry::kStore32:
    case Carry::kStore64: {
      const std::size_t width =
          message->kind == static_cast<std::uint32_t>(Carry::kStore32) ? 4 : 8;
      const bool good = bytes == 0 && message->offset % width == 0 &&
                        base::fits(message->offset, width, region_.size());
      return good ? Carried::kDone : Carried::kBroken;
    }
  }
  return Carried::kBroken;
}

void CarryReader::store(const CarryHeader& message) const {
  std::byte* at = region_.data() + message.offset;
  if (message.kind == static_cast<std::uint32_t>(Carry::kStore32)) {
    reinterpret_cast<std::atomic<std::uint32_t>*>(at)->store(
        static_cast<std::uint32_t>(message.value), std::memory_order_seq_cst);
  } else {
    reinterpret_cast<std::atomic<std::uint64_t>*>(at)->store(message.value,
                                                             std::memory_order_seq_cst);
  }
}

}  // namespace nacelle::shm
