// Byte streams of the kernel: named pipes and Unix sockets, blocking and polled.
//
// A request that wants no reply is one-way traffic: only counted, by whoever sent it.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <thread>
#include <vector>

#include "bench/transport/plain.h"
#include "sidecar/base/fd.h"

namespace nacelle::bench {
namespace {

using base::Code;
using base::Error;
using base::Fd;

constexpr int kBufferSize = 1 << 20;  // of a pipe or socket, where the kernel allows it
constexpr std::size_t kBatch = 1024;  // one-way messages of one write
using Request = std::array<std::byte, kRequestSize>;

// Reads some or writes some. A polled socket is asked again until it has something.
struct Stream {
  int in = -1;
  int out = -1;
  bool polled = false;

  // Bytes, at least one; 0 at the end of the stream or on an error.
  std::size_t some(std::byte* to, std::size_t size) const {
    for (;;) {
      const ssize_t done = polled ? ::recv(in, to, size, MSG_DONTWAIT) : ::read(in, to, size);
      if (done > 0) return static_cast<std::size_t>(done);
      if (done < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      return 0;
    }
  }
  bool read_all(std::byte* to, std::size_t size) const {
    while (size > 0) {
      const std::size_t done = some(to, size);
      if (done == 0) return false;
      to += done;
      size -= done;
    }
    return true;
  }
  bool write_all(const std::byte* from, std::size_t size) const {
    while (size > 0) {
      const ssize_t done =
          polled ? ::send(out, from, size, MSG_DONTWAIT) : ::write(out, from, size);
      if (done < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (done <= 0) return false;
      from += done;
      size -= static_cast<std::size_t>(done);
    }
    return true;
  }
};

// Answers until the other side is gone.
void answer(const Stream& stream) {
  std::vector<std::byte> requests(kBatch * kRequestSize);
  std::vector<std::byte> reply(kReplyMax);
  std::size_t held = 0;
  for (;;) {
    const std::size_t more = stream.some(&requests[held], requests.size() - held);
    if (more == 0) return;
    held += more;
    std::size_t done = 0;
    for (; held - done >= kRequestSize; done += kRequestSize) {
      const std::size_t size = wanted_size(&requests[done]);
      if (size == 0) continue;
      make_reply(&requests[done], reply.data(), size);
      if (!stream.write_all(reply.data(), size)) return;
    }
    held -= done;
    std::memmove(requests.data(), &requests[done], held);
  }
}

class StreamCaller : public Caller {
 public:
  StreamCaller(Fd in, Fd out, bool polled)
      : in_(std::move(in)),
        out_(std::move(out)),
        stream_{.in = in_.get(), .out = out_ ? out_.get() : in_.get(), .polled = polled} {}

  base::Status call(std::span<const std::byte> request, std::span<std::byte> reply) override {
    if (stream_.write_all(request.data(), request.size()) &&
        stream_.read_all(reply.data(), reply.size())) {
      return base::ok();
    }
    return Error{Code::kUnavailable, "the server went away"};
  }

  base::Result<OneWay> one_way(std::uint32_t size, base::Nanos duration) override {
    if (size != kRequestSize) return Error{Code::kInvalid, "one-way messages have 64 bytes here"};
    std::vector<std::byte> batch(kBatch * kRequestSize);
    for (std::size_t i = 0; i < kBatch; ++i) {
      make_request(std::span(batch).subspan(i * kRequestSize), 0, 0);
    }
    OneWay sent;
    const base::Nanos begin = base::now_ns();
    do {
      if (!stream_.write_all(batch.data(), batch.size())) {
        return Error{Code::kUnavailable, "the server went away"};
      }
      sent.messages += kBatch;
    } while (base::now_ns() - begin < duration);
    Request last;
    make_request(last, kRequestSize, 0);
    Request reply;
    if (base::Status arrived = call(last, reply); !arrived) return arrived.error();
    if (reply != last) return Error{Code::kInternal, "the reply holds other bytes"};
    sent.duration = base::now_ns() - begin;
    sent.bytes = sent.messages * kRequestSize;
    return sent;
  }

 private:
  Fd in_;
  Fd out_;  // none for a socket
  Stream stream_;
};

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  return address;
}

void enlarge(int socket) {
  for (const int option : {SO_SNDBUF, SO_RCVBUF}) {
    ::setsockopt(socket, SOL_SOCKET, option, &kBufferSize, sizeof kBufferSize);
  }
}

// A thread per connection: nothing else wakes only the one that is meant.
base::Status serve_sockets(const std::string& folder, const Ready& ready, bool polled) {
  const std::string path = folder + "/socket";
  const sockaddr_un address = address_of(path);
  const Fd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!listener ||
      ::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener.get(), 64) != 0) {
    return cannot("listen on " + path);
  }
  ready(path);
  for (;;) {
    Fd client(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!client) return cannot("accept");
    enlarge(client.get());
    std::thread(
        [polled](const Fd& own) { answer({.in = own.get(), .out = own.get(), .polled = polled}); },
        std::move(client))
        .detach();
  }
}

base::Result<std::unique_ptr<Caller>> connect_to(const std::string& at, bool polled) {
  const sockaddr_un address = address_of(at);
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket ||
      ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return cannot("connect to " + at);
  }
  enlarge(socket.get());
  return std::unique_ptr<Caller>(std::make_unique<StreamCaller>(std::move(socket), Fd(), polled));
}

}  // namespace

base::Status serve_socket(const std::string& folder, const Ready& ready) {
  return serve_sockets(folder, ready, false);
}
base::Result<std::unique_ptr<Caller>> connect_socket(const std::string& at) {
  return connect_to(at, false);
}
base::Status serve_spinning_socket(const std::string& folder, const Ready& ready) {
  return serve_sockets(folder, ready, true);
}
base::Result<std::unique_ptr<Caller>> connect_spinning_socket(const std::string& at) {
  return connect_to(at, true);
}

// One client: two named pipes.
base::Status serve_pipe(const std::string& folder, const Ready& ready) {
  const std::string ask = folder + "/ask";
  const std::string tell = folder + "/tell";
  if (::mkfifo(ask.c_str(), 0600) != 0 || ::mkfifo(tell.c_str(), 0600) != 0) {
    return cannot("make pipes in " + folder);
  }
  ready(folder);
  const Fd in(::open(ask.c_str(), O_RDONLY | O_CLOEXEC));
  const Fd out(::open(tell.c_str(), O_WRONLY | O_CLOEXEC));
  if (!in || !out) return cannot("open the pipes in " + folder);
  for (const Fd* end : {&in, &out}) ::fcntl(end->get(), F_SETPIPE_SZ, kBufferSize);
  answer({.in = in.get(), .out = out.get()});
  return base::ok();
}

base::Result<std::unique_ptr<Caller>> connect_pipe(const std::string& at) {
  Fd out(::open((at + "/ask").c_str(), O_WRONLY | O_CLOEXEC));
  Fd in(::open((at + "/tell").c_str(), O_RDONLY | O_CLOEXEC));
  if (!in || !out) return cannot("open the pipes in " + at);
  return std::unique_ptr<Caller>(
      std::make_unique<StreamCaller>(std::move(in), std::move(out), false));
}

}  // namespace nacelle::bench
