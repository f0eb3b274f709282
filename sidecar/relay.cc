#include "sidecar/relay.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <utility>

#include "sidecar/base/file.h"

namespace nacelle::sidecar {
namespace {

using base::Code;
using base::Error;
using shm::Carried;
using shm::Carry;

// Messages that one client may send before the others have their turn.
constexpr int kMessagesPerTurn = 256;
constexpr int kEventsMax = 64;

}  // namespace

// One client, and how much of the reply region it has been sent.
class Relay::Peer {
 public:
  static base::Result<std::unique_ptr<Peer>> open(base::Fd remote, base::Fd local);

  // Takes what the client sent, sends what it can; false when the connection is over.
  bool turn();
  [[nodiscard]] int remote() const { return remote_.get(); }
  [[nodiscard]] int local() const { return local_.get(); }
  [[nodiscard]] bool wants_to_send() const { return blocked_; }
  bool watched_for_sending = false;

 private:
  struct Slot {
    std::uint64_t generation = 0;    // sent
    std::uint32_t payload_sent = 0;  // bytes of the reply that is on its way
    std::uint32_t produced = 0;      // sent, with its pieces
    std::uint32_t pieces_sent =
        0;                       // bytes of pieces; ahead of `produced` while they are on the way
    std::uint32_t progress = 0;  // sent
  };

  bool receive();
  void apply(const shm::CarryHeader& message);
  bool send_replies();
  Carried send_slot(std::uint32_t index);
  Carried send_pieces(std::uint32_t index, std::uint32_t produced);
  Carried send_part(const void* from, std::size_t size);
  Carried send_word(const std::atomic<std::uint32_t>& word, std::uint32_t value);
  [[nodiscard]] const shm::ReplyHeader& header() const {
    return *reinterpret_cast<const shm::ReplyHeader*>(replies_.data());
  }
  [[nodiscard]] std::uint64_t offset_of(const void* at) const {
    return static_cast<std::uint64_t>(static_cast<const std::byte*>(at) - replies_.data());
  }

  base::Fd remote_;
  base::Fd local_;
  base::Fd doorbell_;
  shm::Mapping requests_;  // A
  shm::Mapping replies_;   // B, read-only
  std::unique_ptr<shm::CarryReader> reader_;
  std::vector<Slot> slots_;
  std::uint32_t used_ = 0;  // slots that the client has ever used
  bool blocked_ = false;    // its socket is full
};

base::Result<std::unique_ptr<Relay::Peer>> Relay::Peer::open(base::Fd remote, base::Fd local) {
  base::Result<shm::Greeting> greeting = shm::read_welcome(std::move(local), "the sidecar itself");
  if (!greeting) return greeting.error();
  shm::Welcome welcome = greeting->welcome;
  auto peer = std::make_unique<Peer>();
  base::Result<shm::Mapping> requests = shm::Mapping::map(
      greeting->fds[0].get(), welcome.request_region_size, shm::Access::kReadWrite);
  if (!requests) return requests.error();
  base::Result<shm::Mapping> replies =
      shm::Mapping::map(greeting->fds[1].get(), welcome.reply_region_size, shm::Access::kRead);
  if (!replies) return replies.error();
  peer->remote_ = std::move(remote);
  peer->local_ = std::move(greeting->socket);
  peer->doorbell_ = std::move(greeting->fds[2]);
  peer->requests_ = *std::move(requests);
  peer->replies_ = *std::move(replies);
  peer->slots_.resize(peer->header().slots);
  peer->reader_ = std::make_unique<shm::CarryReader>(
      std::span(peer->requests_.data(), static_cast<std::size_t>(peer->requests_.size())));
  welcome.features = shm::kFeatureCarry;
  if (base::Status sent = shm::send_welcome(peer->remote(), welcome, {}); !sent) {
    return sent.error();
  }
  // Up to the word that tells whether the sidecar sleeps: the relay rings for this client.
  if (peer->send_part(&peer->header(), offsetof(shm::ReplyHeader, asleep)) != Carried::kDone) {
    return Error{Code::kSidecarGone, "the client hung up during the handshake"};
  }
  return peer;
}

bool Relay::Peer::turn() {
  const bool there = receive();
  char bytes[64];
  ssize_t size = 0;
  while ((size = ::recv(local_.get(), bytes, sizeof bytes, MSG_DONTWAIT)) > 0) {
  }
  const bool connected = size < 0 && (errno == EAGAIN || errno == EINTR);
  // What was answered before the connection ended is sent still.
  return send_replies() && there && connected;
}

bool Relay::Peer::receive() {
  bool received = false;
  Carried carried = Carried::kDone;
  shm::CarryHeader message;
  for (int i = 0; i < kMessagesPerTurn && carried == Carried::kDone; ++i) {
    carried = reader_->receive(remote_.get(), &message);
    if (carried != Carried::kDone) break;
    received = true;
    if (message.kind != static_cast<std::uint32_t>(Carry::kBytes)) apply(message);
  }
  // Whether it sleeps, or a stream waits for room: a bell too many does no harm.
  const std::uint64_t one = 1;
  if (received) [[maybe_unused]]
    const ssize_t rung = ::write(doorbell_.get(), &one, sizeof one);
  if (carried == Carried::kBroken) {
    // Passed on: intake takes a word on this socket as a violation, and counts it.
    [[maybe_unused]] const ssize_t told =
        ::send(local_.get(), &one, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
  }
  return carried == Carried::kDone || carried == Carried::kNothing;
}

// A word of the client's. Two of them mean more here than to a client that shares the memory.
void Relay::Peer::apply(const shm::CarryHeader& message) {
  if (message.offset == offsetof(shm::RequestHeader, slots_used)) {
    // Messages of two threads may overtake each other; the count only grows. One that is too large
    // is for the connection to find.
    const auto wanted = static_cast<std::uint32_t>(message.value);
    used_ = std::max(used_, std::min(wanted, header().slots));
    if (wanted > header().slots || wanted >= used_) reader_->store(message);
    return;
  }
  const std::uint64_t first = header().request_slots_offset;
  const std::uint64_t in_slots = message.offset - first;
  if (message.offset >= first && in_slots % sizeof(shm::RequestSlot) == 0 &&
      in_slots / sizeof(shm::RequestSlot) < slots_.size()) {
    // A generation. Its reply, and each piece, is to be announced on our socket.
    auto* slot = reinterpret_cast<shm::RequestSlot*>(requests_.data() + message.offset);
    shm::protocol::raise_waiting(slot->waiting, shm::kWaitsPolling);
  }
  reader_->store(message);
}

// Sends what has appeared in the reply region until the socket is full. False: the client is gone.
bool Relay::Peer::send_replies() {
  blocked_ = false;
  for (std::uint32_t i = 0; i < used_; ++i) {
    const Carried sent = send_slot(i);
    if (sent == Carried::kGone) return false;
    if (sent == Carried::kNothing) {
      blocked_ = true;
      return true;
    }
  }
  return true;
}

// What stands in a slot does not change until the client has seen it, so that a reply which did not
// fit into the socket goes on where it stopped.
Carried Relay::Peer::send_slot(std::uint32_t index) {
  const auto& slot = *reinterpret_cast<const shm::ReplySlot*>(
      replies_.data() + header().reply_slots_offset + std::size_t{index} * sizeof(shm::ReplySlot));
  Slot& state = slots_[index];
  // The generation first: when it is the end of a stream, all its pieces are to be seen, too.
  const std::uint64_t generation = slot.generation.load(std::memory_order_acquire);
  const std::uint32_t progress = slot.progress.load(std::memory_order_acquire);
  const std::uint32_t produced = slot.produced.load(std::memory_order_acquire);
  if (produced != state.produced) {
    if (const Carried sent = send_pieces(index, produced); sent != Carried::kDone) return sent;
  }
  if (generation != state.generation) {
    const bool in_arena = slot.payload_size > shm::kReplyInline;
    while (in_arena && state.payload_sent < slot.payload_size) {
      const std::size_t part =
          std::min<std::size_t>(slot.payload_size - state.payload_sent, shm::kCarryBytesMax);
      const std::byte* from =
          replies_.data() + header().reply_arena_offset + slot.payload_offset + state.payload_sent;
      if (const Carried sent = send_part(from, part); sent != Carried::kDone) return sent;
      state.payload_sent += static_cast<std::uint32_t>(part);
    }
    Carried sent =
        send_part(&slot.code, offsetof(shm::ReplySlot, woken) - offsetof(shm::ReplySlot, code));
    if (sent == Carried::kDone) sent = send_part(slot.payload, sizeof slot.payload);
    if (sent == Carried::kDone) {
      sent =
          shm::send_store(remote_.get(), Carry::kStore64, offset_of(&slot.generation), generation);
    }
    if (sent != Carried::kDone) return sent;
    state.generation = generation;
    state.payload_sent = 0;
  }
  if (progress != state.progress) {
    if (const Carried sent = send_word(slot.progress, progress); sent != Carried::kDone)
      return sent;
    state.progress = progress;
  }
  return Carried::kDone;
}

// The pieces of a stream up to `produced`, then the word that shows them.
Carried Relay::Peer::send_pieces(std::uint32_t index, std::uint32_t produced) {
  const auto& slot = *reinterpret_cast<const shm::ReplySlot*>(
      replies_.data() + header().reply_slots_offset + std::size_t{index} * sizeof(shm::ReplySlot));
  Slot& state = slots_[index];
  const std::uint32_t ring_size = header().stream_ring_size;
  const std::byte* ring =
      replies_.data() + header().reply_arena_offset + std::size_t{slot.stream_offset};
  while (state.pieces_sent != produced) {
    const std::uint32_t at = state.pieces_sent % ring_size;
    const std::uint32_t part = std::min({produced - state.pieces_sent, ring_size - at,
                                         static_cast<std::uint32_t>(shm::kCarryBytesMax)});
    if (const Carried sent = send_part(ring + at, part); sent != Carried::kDone) return sent;
    state.pieces_sent += part;
  }
  Carried sent = send_part(&slot.stream_offset, sizeof slot.stream_offset);
  if (sent == Carried::kDone) sent = send_word(slot.produced, produced);
  if (sent == Carried::kDone) state.produced = produced;
  return sent;
}

Carried Relay::Peer::send_part(const void* from, std::size_t size) {
  return shm::send_bytes(remote_.get(), offset_of(from),
                         {static_cast<const std::byte*>(from), size});
}

Carried Relay::Peer::send_word(const std::atomic<std::uint32_t>& word, std::uint32_t value) {
  return shm::send_store(remote_.get(), Carry::kStore32, offset_of(&word), value);
}

Relay::Relay()
    : epoll_(::epoll_create1(EPOLL_CLOEXEC)), event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

Relay::~Relay() {
  stopping_.store(true);
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t size = ::write(event_.get(), &one, sizeof one);
  if (thread_.joinable()) thread_.join();
}

bool Relay::watch(int fd, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  return ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

base::Status Relay::add(base::Fd remote, base::Fd local) {
  base::Result<std::unique_ptr<Peer>> peer = Peer::open(std::move(remote), std::move(local));
  if (!peer) return peer.error();
  const std::lock_guard lock(mutex_);
  if (!thread_.joinable()) {
    if (!epoll_ || !event_ || !watch(event_.get(), EPOLLIN)) {
      return Error{Code::kUnavailable, "cannot relay: " + base::errno_text(errno)};
    }
    thread_ = std::thread([this] { run(); });
  }
  added_.push_back(*std::move(peer));
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t size = ::write(event_.get(), &one, sizeof one);
  return base::ok();
}

void Relay::take_added() {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t size = ::read(event_.get(), &count, sizeof count);
  const std::lock_guard lock(mutex_);
  for (std::unique_ptr<Peer>& peer : added_) {
    // One that cannot be watched is let go: it sees the hang-up and comes back.
    if (watch(peer->remote(), EPOLLIN) && watch(peer->local(), EPOLLIN)) {
      peers_.push_back(std::move(peer));
    }
  }
  added_.clear();
}

void Relay::run() {
  std::array<epoll_event, kEventsMax> events;
  while (!stopping_.load()) {
    const int count = ::epoll_wait(epoll_.get(), events.data(), kEventsMax, -1);
    for (int i = 0; i < count; ++i) {
      const int fd = events[static_cast<std::size_t>(i)].data.fd;
      if (fd == event_.get()) {
        take_added();
        continue;
      }
      const auto owner = std::find_if(peers_.begin(), peers_.end(), [fd](const auto& peer) {
        return peer->remote() == fd || peer->local() == fd;
      });
      if (owner != peers_.end()) serve(**owner);
    }
  }
  for (const auto& peer : peers_) peer->turn();  // the last answers
}

void Relay::serve(Peer& peer) {
  if (!peer.turn()) {
    // Closing both ends tells the client and intake.
    std::erase_if(peers_, [&](const auto& other) { return other.get() == &peer; });
    return;
  }
  if (peer.wants_to_send() == peer.watched_for_sending) return;
  peer.watched_for_sending = peer.wants_to_send();
  epoll_event event{};
  event.events = EPOLLIN | (peer.watched_for_sending ? std::uint32_t{EPOLLOUT} : 0U);
  event.data.fd = peer.remote();
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, peer.remote(), &event);
}

}  // namespace nacelle::sidecar
