#include "shm/handshake.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "sidecar/base/check.h"
#include "sidecar/base/file.h"

namespace nacelle::shm {
namespace {

using base::Code;
using base::Error;

constexpr int kBacklog = 64;

// SO_PEERPIDFD, which Debian 12's headers do not know yet.
constexpr int kPeerPidfd = 77;

base::Result<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return Error{Code::kInvalid, "the socket path \"" + path + "\" must have 1 to " +
                                     std::to_string(sizeof address.sun_path - 1) + " bytes"};
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

template <std::size_t size>
std::string text_of(const char (&field)[size]) {
  return std::string(field, ::strnlen(field, size));
}

std::string version_text(unsigned major, unsigned minor) {
  return std::to_string(major) + "." + std::to_string(minor);
}

}  // namespace

base::Result<Listener> Listener::listen(const std::string& path) {
  const std::string temporary = path + ".new";
  base::Result<sockaddr_un> address = address_of(temporary);
  if (!address) return address.error();
  Listener listener;
  listener.fd_.reset(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const auto failed = [&](const char* doing) {
    return Error{Code::kUnavailable, std::string(doing) + " " + path + ": " +
                                         base::errno_text(errno) +
                                         ". Does the folder exist, and may this user write to it?"};
  };
  if (!listener.fd_) return failed("cannot create a socket for");
  ::unlink(temporary.c_str());
  if (::bind(listener.fd_.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) !=
      0) {
    return failed("cannot bind");
  }
  // Who may connect is decided from the peer's credentials, not from the file's mode.
  if (::chmod(temporary.c_str(), 0666) != 0 || ::listen(listener.fd_.get(), kBacklog) != 0 ||
      ::rename(temporary.c_str(), path.c_str()) != 0) {
    const Error error = failed("cannot listen on");
    ::unlink(temporary.c_str());
    return error;
  }
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0) listener.inode_ = status.st_ino;
  listener.path_ = path;
  return listener;
}

Listener::~Listener() {
  if (!fd_) return;  // moved from
  struct stat status {};
  if (::stat(path_.c_str(), &status) == 0 && status.st_ino == inode_) ::unlink(path_.c_str());
}

base::Fd Listener::accept() const {
  return base::Fd(::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
}

base::Result<Peer> peer_of(int socket) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
    return Error{Code::kUnavailable,
                 "cannot read a client's credentials: " + base::errno_text(errno)};
  }
  return Peer{credentials.uid, credentials.gid, credentials.pid};
}

base::Fd process_of(int socket) {
  int pidfd = -1;
  socklen_t size = sizeof pidfd;
  // The kernel makes it close-on-exec.
  if (::getsockopt(socket, SOL_SOCKET, kPeerPidfd, &pidfd, &size) != 0) return base::Fd();
  return base::Fd(pidfd);
}

base::Result<std::optional<Hello>> read_hello(int socket) {
  std::byte buffer[kMessageMax];
  // A plain recv drops descriptors that a client might send along.
  const ssize_t count = ::recv(socket, buffer, sizeof buffer, MSG_DONTWAIT | MSG_TRUNC);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return std::optional<Hello>();
  if (count <= 0) return Error{Code::kSidecarGone, "the client hung up during the handshake"};
  Hello hello;
  if (static_cast<std::size_t>(count) < sizeof hello ||
      static_cast<std::size_t>(count) > sizeof buffer) {
    return Error{Code::kInvalid, "the first message has " + std::to_string(count) +
                                     " bytes; a hello has " + std::to_string(sizeof hello) +
                                     ". Is this a Nacelle client?"};
  }
  std::memcpy(&hello, buffer, sizeof hello);
  if (hello.magic != kHelloMagic) {
    return Error{Code::kInvalid, "the first message is not a hello. Is this a Nacelle client?"};
  }
  if (hello.version_major != kVersionMajor) {
    return Error{Code::kVersionMismatch,
                 "the client speaks protocol " +
                     version_text(hello.version_major, hello.version_minor) +
                     ", this sidecar speaks " + version_text(kVersionMajor, kVersionMinor) +
                     ": use a client library of the sidecar's release"};
  }
  return std::optional<Hello>(hello);
}

base::Status send_welcome(int socket, const Welcome& welcome, std::span<const int> fds) {
  iovec data{const_cast<Welcome*>(&welcome), sizeof welcome};
  alignas(cmsghdr) char control[CMSG_SPACE(kWelcomeFdsMax * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    CHECK(fds.size() == kWelcomeFds || fds.size() == kWelcomeFdsMax);
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
  }
  if (::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
    if (errno == EPIPE || errno == ECONNRESET) {
      return Error{Code::kSidecarGone, "the client hung up during the handshake"};
    }
    return Error{Code::kUnavailable, "cannot answer a client's hello: " + base::errno_text(errno)};
  }
  return base::ok();
}

void send_refusal(int socket, const base::Error& error) {
  Welcome welcome;
  welcome.code = static_cast<std::uint16_t>(error.code);
  const std::size_t size = std::min(error.message.size(), sizeof welcome.message - 1);
  std::memcpy(welcome.message, error.message.data(), size);
  [[maybe_unused]] const base::Status sent = send_welcome(socket, welcome, {});
}

namespace {

// Waits for `events` on the socket until `deadline`; false when the time is up.
bool wait_for(int socket, short events, base::Nanos deadline) {
  for (;;) {
    const base::Nanos left = deadline - base::now_ns();
    if (left <= 0) return false;
    pollfd entry{socket, events, 0};
    const auto milliseconds =
        static_cast<int>(std::min<base::Nanos>(left / base::kMillisecond + 1, 60'000));
    const int count = ::poll(&entry, 1, milliseconds);
    if (count > 0) return true;
    if (count < 0 && errno != EINTR) return false;
  }
}

}  // namespace

// The answer and its descriptors, which are closed again when they are not what was promised.
base::Result<Greeting> read_welcome(base::Fd socket, const std::string& path) {
  Greeting greeting;
  std::byte buffer[kMessageMax];
  iovec data{buffer, sizeof buffer};
  alignas(cmsghdr) char control[CMSG_SPACE(kWelcomeFdsMax * sizeof(int))];
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const int flags = MSG_CMSG_CLOEXEC | MSG_DONTWAIT;
  ssize_t count = ::recvmsg(socket.get(), &message, flags);
  // A sidecar that refuses before it has read the hello closes with it unread, which the kernel
  // tells first, and once. What the sidecar said is still there.
  if (count < 0 && errno == ECONNRESET) count = ::recvmsg(socket.get(), &message, flags);
  std::size_t received = 0;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); count >= 0 && header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t fds = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < fds; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof fd);
      if (received < greeting.fds.size()) {
        greeting.fds[received++].reset(fd);
      } else {
        ::close(fd);
      }
    }
  }
  if (count <= 0) {
    return Error{Code::kSidecarGone, "the sidecar at " + path + " hung up during the handshake"};
  }
  Welcome& welcome = greeting.welcome;
  if (static_cast<std::size_t>(count) < sizeof welcome) {
    return Error{Code::kInvalid, path + " answered with something that is no Nacelle handshake"};
  }
  std::memcpy(&welcome, buffer, sizeof welcome);
  if (welcome.magic != kWelcomeMagic) {
    return Error{Code::kInvalid, path + " answered with something that is no Nacelle handshake"};
  }
  if (welcome.code != 0) {
    return Error{static_cast<Code>(welcome.code),
                 "the sidecar at " + path + " refused the connection: " + text_of(welcome.message)};
  }
  const bool carried = (welcome.features & kFeatureCarry) != 0;
  const bool cached = (welcome.features & kFeatureCache) != 0;
  const std::size_t promised = carried ? 0 : cached ? kWelcomeFdsMax : kWelcomeFds;
  if (received != promised || (message.msg_flags & MSG_CTRUNC) != 0) {
    return Error{Code::kInvalid, "the sidecar at " + path + " sent " + std::to_string(received) +
                                     " descriptors instead of " + std::to_string(promised) +
                                     ". Is this process out of "
                                     "descriptors (ulimit -n)?"};
  }
  greeting.socket = std::move(socket);
  return greeting;
}

base::Result<Greeting> greet(const std::string& path, const Hello& hello, base::Nanos deadline) {
  base::Result<sockaddr_un> address = address_of(path);
  if (!address) return address.error();
  base::Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) {
    return Error{Code::kUnavailable, "cannot create a socket: " + base::errno_text(errno)};
  }
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0) {
    return Error{Code::kUnavailable, "no sidecar at " + path + ": " + base::errno_text(errno) +
                                         ". Is nacelled running, and is its folder mounted here?"};
  }
  // A sidecar that refuses this user does so before the hello, and hangs up: the reason is there to
  // be read although the hello cannot be sent.
  [[maybe_unused]] const ssize_t sent = ::send(socket.get(), &hello, sizeof hello, MSG_NOSIGNAL);
  if (!wait_for(socket.get(), POLLIN, deadline)) {
    return Error{Code::kDeadlineExceeded, "the sidecar at " + path + " did not answer in time"};
  }
  return read_welcome(std::move(socket), path);
}

bool hung_up(int socket) {
  pollfd entry{socket, POLLRDHUP, 0};
  return ::poll(&entry, 1, 0) > 0 && entry.revents != 0;
}

}  // namespace nacelle::shm
