// A client without manners: the handshake byte by byte, the regions as they came and writable where
// they are, and nothing that keeps it from lying. For tests of what the other side makes of that.
#pragma once

#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "shm/handshake.h"
#include "shm/layout.h"
#include "sidecar/base/check.h"
#include "sidecar/base/fd.h"
#include "sidecar/base/time.h"

namespace nacelle::testing {

// What a test waits for takes microseconds; this is only where it gives up.
inline constexpr base::Nanos kPatience = 20 * base::kSecond;

// Waits until `done()`; false when patience ends.
template <typename Done>
bool eventually(Done&& done) {
  const base::Nanos stop = base::now_ns() + kPatience;
  while (!done()) {
    if (base::now_ns() > stop) return false;
    std::this_thread::yield();
  }
  return true;
}

// A socket connected to `path`, on which nothing was said yet; empty when there is no room in the
// listener's queue, or nobody listens.
inline base::Fd dial(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  CHECK(path.size() < sizeof address.sun_path);
  std::memcpy(address.sun_path, path.data(), path.size());
  base::Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return {};
  }
  return socket;
}

// Sends one message, with descriptors; false when the kernel does not take it. Never waits.
inline bool say(int socket, const void* bytes, std::size_t size, std::span<const int> fds = {}) {
  iovec data{const_cast<void*>(bytes), size};
  std::vector<char> control(CMSG_SPACE(fds.size_bytes()));
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
  }
  return ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
}
template <typename T>
bool say(int socket, const T& value, std::span<const int> fds = {}) {
  return say(socket, &value, sizeof value, fds);
}

// Waits until there is something to read; false when patience ends.
inline bool readable(int fd) {
  pollfd entry{fd, POLLIN, 0};
  int count = 0;
  do {
    count = ::poll(&entry, 1, static_cast<int>(kPatience / base::kMillisecond));
  } while (count < 0 && errno == EINTR);
  return count == 1;
}

// What the sidecar answered: a welcome, and the descriptors that came along.
struct Heard {
  shm::Welcome welcome;
  std::array<base::Fd, shm::kWelcomeFdsMax> fds;
};

// Waits for the answer to a hello; nothing when the other side hung up without one.
inline std::optional<Heard> hear(int socket) {
  if (!readable(socket)) return std::nullopt;
  Heard heard;
  iovec data{&heard.welcome, sizeof heard.welcome};
  alignas(cmsghdr) char control[CMSG_SPACE(shm::kWelcomeFdsMax * sizeof(int))];
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t size = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  // The other side closed with something of ours unread; its answer is still there.
  if (size < 0 && errno == ECONNRESET) size = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  if (size != static_cast<ssize_t>(sizeof heard.welcome)) return std::nullopt;
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  for (std::size_t i = 0; header != nullptr && i < (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
       ++i) {
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
    heard.fds[i].reset(fd);
  }
  return heard;
}

// The payload of embed and classify: the sizes, then the bytes (docs/formats/shm.md).
inline std::string text_list(const std::vector<std::string>& texts) {
  std::string sizes;
  std::string bytes;
  for (const std::string& text : texts) {
    const auto size = static_cast<std::uint32_t>(text.size());
    sizes.append(reinterpret_cast<const char*>(&size), sizeof size);
    bytes += text;
  }
  return sizes + bytes;
}

class RawClient {
 public:
  // Connects like anybody else; then its manners end.
  explicit RawClient(const std::string& path, std::uint64_t features = 0) {
    socket_ = dial(path);
    CHECK(socket_);
    shm::Hello hello;
    hello.features = features;
    CHECK(say(socket_.get(), hello));
    std::optional<Heard> heard = hear(socket_.get());
    CHECK(heard && heard->welcome.code == 0);
    take(*std::move(heard));
  }
  RawClient(base::Fd socket, Heard heard) : socket_(std::move(socket)) { take(std::move(heard)); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;
  ~RawClient() {
    if (a_ != nullptr) ::munmap(a_, a_size_);
    if (b_ != nullptr) ::munmap(b_, b_size_);
  }

  [[nodiscard]] int socket() const { return socket_.get(); }
  [[nodiscard]] int request_fd() const { return heard_.fds[0].get(); }
  [[nodiscard]] int reply_fd() const { return heard_.fds[1].get(); }
  [[nodiscard]] int doorbell() const { return heard_.fds[2].get(); }
  [[nodiscard]] int cache_fd() const { return heard_.fds[3].get(); }  // with shm::kFeatureCache
  [[nodiscard]] int touches_fd() const { return heard_.fds[4].get(); }
  void hang_up() { socket_.reset(); }

  // The regions: A writable, B as far as it can be had.
  [[nodiscard]] std::byte* a() const { return a_; }
  [[nodiscard]] const std::byte* b() const { return b_; }
  [[nodiscard]] std::size_t a_size() const { return a_size_; }
  [[nodiscard]] std::size_t b_size() const { return b_size_; }
  [[nodiscard]] const shm::ReplyHeader& table() const {
    return *reinterpret_cast<const shm::ReplyHeader*>(b_);
  }
  [[nodiscard]] std::uint32_t slots() const { return table().slots; }
  [[nodiscard]] shm::RequestHeader& header() const {
    return *reinterpret_cast<shm::RequestHeader*>(a_);
  }
  [[nodiscard]] shm::RequestSlot& slot(std::uint32_t i) const {
    return reinterpret_cast<shm::RequestSlot*>(a_ + table().request_slots_offset)[i];
  }
  [[nodiscard]] const shm::ReplySlot& reply(std::uint32_t i) const {
    return reinterpret_cast<const shm::ReplySlot*>(b_ + table().reply_slots_offset)[i];
  }
  [[nodiscard]] std::span<std::byte> arena() const {
    return {a_ + table().request_arena_offset, table().request_arena_size};
  }

  // Fills in slot `i` as a client should, the payload at `offset` of the arena when it is long.
  void write(std::uint32_t i, shm::Op op, std::string_view payload, std::uint32_t items = 0,
             std::uint32_t offset = 0) const {
    shm::RequestSlot& s = slot(i);
    s.op = static_cast<std::uint16_t>(op);
    s.flags = 0;
    s.items = items;
    s.service = 0;
    s.payload_size = static_cast<std::uint32_t>(payload.size());
    s.payload_offset = offset;
    s.deadline_us = 0;
    if (payload.empty()) return;
    std::memcpy(payload.size() <= shm::kRequestInline ? s.payload : arena().data() + offset,
                payload.data(), payload.size());
  }
  // Announces what slot `i` holds, whatever that is, and rings: the generation it now has.
  std::uint64_t publish(std::uint32_t i) const {
    std::uint32_t used = header().slots_used.load();
    while (used <= i && !header().slots_used.compare_exchange_weak(used, i + 1)) {
    }
    const std::uint64_t generation = slot(i).generation.fetch_add(1) + 1;
    ring();
    return generation;
  }
  std::uint64_t ask(std::uint32_t i, shm::Op op, std::string_view payload, std::uint32_t items = 0,
                    std::uint32_t offset = 0) const {
    write(i, op, payload, items, offset);
    return publish(i);
  }
  // Rings without an error when there is no room for another ring.
  void ring() const {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t rung = ::write(doorbell(), &one, sizeof one);
  }

  [[nodiscard]] bool replied(std::uint32_t i, std::uint64_t generation) const {
    return reply(i).generation.load() == generation;
  }
  // Waits for a reply; false when the sidecar hung up instead.
  [[nodiscard]] bool await(std::uint32_t i, std::uint64_t generation) const {
    bool gone = false;
    CHECK(eventually([&] {
      if (replied(i, generation)) return true;
      gone = hung_up();
      return gone;
    }));
    return replied(i, generation);
  }
  [[nodiscard]] base::Code code(std::uint32_t i) const {
    return static_cast<base::Code>(reply(i).code);
  }
  // The payload of the reply in slot `i`.
  [[nodiscard]] std::string answer(std::uint32_t i) const {
    const shm::ReplySlot& r = reply(i);
    const std::byte* from = r.payload_size <= shm::kReplyInline
                                ? r.payload
                                : b_ + table().reply_arena_offset + r.payload_offset;
    return {reinterpret_cast<const char*>(from), r.payload_size};
  }
  void release(std::uint32_t i) const { slot(i).released.store(reply(i).generation.load()); }
  [[nodiscard]] bool hung_up() const { return shm::hung_up(socket_.get()); }

 private:
  void take(Heard&& heard) {
    heard_ = std::move(heard);
    a_size_ = heard_.welcome.request_region_size;
    b_size_ = heard_.welcome.reply_region_size;
    const auto map = [](int fd, std::size_t size, int protection) {
      void* at = ::mmap(nullptr, size, protection, MAP_SHARED, fd, 0);
      CHECK(at != MAP_FAILED);
      return static_cast<std::byte*>(at);
    };
    a_ = map(request_fd(), a_size_, PROT_READ | PROT_WRITE);
    b_ = map(reply_fd(), b_size_, PROT_READ);
  }

  base::Fd socket_;
  Heard heard_;
  std::byte* a_ = nullptr;
  std::byte* b_ = nullptr;
  std::size_t a_size_ = 0;
  std::size_t b_size_ = 0;
};

}  // namespace nacelle::testing
