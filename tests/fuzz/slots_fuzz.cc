// Fuzzes the sidecar's end of a connection: the input is a program of stores into the request
// region and of what the sidecar does, in any order. What the connection hands on must keep its
// promises, and the private books must hold whatever the client writes.
#include <sys/socket.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

#include "shm/connection.h"
#include "sidecar/base/check.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/raw_client.h"

namespace nacelle::fuzz {
namespace {

using testing::RawClient;

constexpr shm::Geometry kGeometry{
    .slots = 4, .request_arena_size = 4096, .reply_arena_size = 4096, .stream_ring_size = 1024};
// One more than what is there, so that stores reach the last byte; the arena starts on a page.
constexpr std::uint32_t kWords = 1024 + 64;

constexpr std::uint32_t kSlotWords = sizeof(shm::RequestSlot) / 4;

struct Pending {
  shm::Submission submission;
  std::span<std::byte> reply;
  bool streams = false;  // its ring is open
};

class Program {
 public:
  Program() {
    int ends[2];
    CHECK(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    base::Fd mine(ends[0]);
    auto opened = shm::Connection::open(base::Fd(ends[1]), shm::Peer{}, shm::Hello{}, kGeometry,
                                        shm::Limits{}, 1, 1);
    CHECK(opened.has_value());
    connection_ = *std::move(opened);
    std::optional<testing::Heard> heard = testing::hear(mine.get());
    CHECK(heard.has_value());
    client_ = std::make_unique<RawClient>(std::move(mine), *std::move(heard));
  }

  void run(Input input) {
    while (input.left() > 0 && !over_) step(input);
    // Whatever happened: all that was taken can be answered, and then nothing is in flight.
    while (!pending_.empty()) complete(0, false);
    CHECK(connection_->in_flight() == 0);
  }

 private:
  // Takes one number per statement: compilers differ in the order of a call's arguments.
  void step(Input& input) {
    switch (input.take<std::uint8_t>() % 13) {
      case 0: {  // any word
        const std::uint32_t word = input.take<std::uint16_t>() % kWords;
        store(word, input.take<std::uint32_t>());
        break;
      }
      case 1:  // a word of a slot, small numbers
        slot(input)[input.take<std::uint8_t>() % kSlotWords].store(input.take<std::uint8_t>());
        break;
      case 2: {  // a word of a slot, near a power of two
        std::atomic<std::uint32_t>& word = slot(input)[input.take<std::uint8_t>() % kSlotWords];
        const std::uint32_t power = 1U << (input.take<std::uint8_t>() % 32);
        word.store(power - 1U + input.take<std::uint8_t>() % 3);
        break;
      }
      case 3: {  // the payload
        const std::uint32_t at = input.take<std::uint16_t>() % 4096;
        std::byte bytes[64] = {};
        input.fill(bytes, sizeof bytes);
        const std::size_t size = std::min<std::size_t>(sizeof bytes, 4096 - at);
        std::memcpy(client_->arena().data() + at, bytes, size);
        break;
      }
      case 4: {  // a request that is right
        const std::uint32_t i = input.take<std::uint8_t>() % kGeometry.slots;
        client_->write(i, static_cast<shm::Op>(input.take<std::uint8_t>() % shm::kOpsEnd), "right");
        client_->publish(i);
        break;
      }
      case 5:  // whatever is there
        client_->publish(input.take<std::uint8_t>() % kGeometry.slots);
        break;
      case 6: {  // a size and an offset
        shm::RequestSlot& s = client_->slot(input.take<std::uint8_t>() % kGeometry.slots);
        s.op = 0;
        s.payload_size = input.take<std::uint16_t>() % 4200;
        s.payload_offset = input.take<std::uint16_t>() % 4200;
        break;
      }
      case 7:
      case 8:
        sweep();
        break;
      case 9: {
        const auto which = input.take<std::uint8_t>();
        reserve(which, input.take<std::uint16_t>());
        break;
      }
      case 10: {
        const auto which = input.take<std::uint8_t>();
        complete(which, input.take<std::uint8_t>() % 2 == 0);
        break;
      }
      case 11: {
        const auto which = input.take<std::uint8_t>();
        stream(which, input.take<std::uint16_t>());
        break;
      }
      default:
        connection_->set_asleep(input.take<std::uint8_t>() % 2 == 0);
        if (!pending_.empty()) {
          const shm::Submission& some = pending_.front().submission;
          [[maybe_unused]] const bool given_up = connection_->cancelled(some.slot, some.generation);
        }
    }
  }

  void store(std::uint32_t word, std::uint32_t value) {
    reinterpret_cast<std::atomic<std::uint32_t>*>(client_->a())[word].store(value);
  }
  std::atomic<std::uint32_t>* slot(Input& input) {
    return reinterpret_cast<std::atomic<std::uint32_t>*>(
        &client_->slot(input.take<std::uint8_t>() % kGeometry.slots));
  }

  void sweep() {
    std::uint32_t cursor = 0;
    shm::Submission s;
    for (;;) {
      const base::Result<bool> taken = connection_->take(&cursor, &s);
      if (!taken) {
        CHECK(static_cast<std::size_t>(connection_->violation()) < shm::kViolationNames.size());
        over_ = true;  // it is disconnected now
        return;
      }
      if (!*taken) return;
      // What take() promises.
      CHECK(s.slot < kGeometry.slots && cursor == s.slot + 1);
      CHECK(s.generation == ++generations_[s.slot]);
      CHECK(static_cast<std::uint16_t>(s.op) < shm::kOpsEnd);
      for (const Pending& other : pending_) CHECK(other.submission.slot != s.slot);
      std::vector<std::byte> payload(s.payload_size);  // exact: a byte more would be found
      CHECK(connection_->copy_payload(s, payload));
      pending_.push_back({s, {}, false});
      CHECK(connection_->in_flight() == pending_.size());
    }
  }

  void reserve(std::size_t which, std::uint64_t size) {
    if (pending_.empty()) return;
    Pending& pending = pending_[which % pending_.size()];
    if (!pending.reply.empty() || size == 0 || !connection_->could_hold(size)) return;
    if (shm::streams(pending.submission.op)) return;
    pending.reply = connection_->reserve(pending.submission, size);
    if (pending.reply.empty()) return;
    CHECK(pending.reply.size() == size);
    for (const std::byte byte : pending.reply) CHECK(byte == std::byte{0});
    for (const Pending& other : pending_) {
      if (&other == &pending || other.reply.empty()) continue;
      CHECK(other.reply.data() + other.reply.size() <= pending.reply.data() ||
            pending.reply.data() + size <= other.reply.data());
    }
    std::fill(pending.reply.begin(), pending.reply.end(), std::byte{0xEE});
  }

  // Pieces until the ring is full, whatever the client says about having read them.
  void stream(std::size_t which, std::uint32_t size) {
    if (pending_.empty()) return;
    Pending& pending = pending_[which % pending_.size()];
    if (!shm::streams(pending.submission.op)) return;
    const std::uint32_t slot = pending.submission.slot;
    if (!pending.streams) pending.streams = connection_->open_stream(pending.submission);
    if (!pending.streams) return;
    const std::vector<std::byte> piece(size % (connection_->piece_max() + 1), std::byte{0x55});
    // Without a reader's word there is room for one ring; each word of one may make room once more.
    std::uint64_t written = 0;
    while (connection_->write_piece(slot, piece)) {
      written += shm::piece_size(piece.size());
      CHECK(written <= 2 * std::uint64_t{kGeometry.stream_ring_size});
    }
    if (const shm::Waiter waiter = connection_->publish_pieces(slot)) connection_->wake(waiter);
    [[maybe_unused]] const bool parked =
        connection_->park_stream(slot, shm::piece_size(piece.size()));
  }

  void complete(std::size_t which, bool fails) {
    if (pending_.empty()) return;
    const auto at = pending_.begin() + static_cast<std::ptrdiff_t>(which % pending_.size());
    const shm::Submission& s = at->submission;
    // No stream has written here.
    for (const std::byte byte : at->reply) CHECK(byte == std::byte{0xEE});
    const shm::Waiter waiter =
        fails ? connection_->complete_error(s.slot, s.generation, {base::Code::kInvalid, "no"})
              : connection_->complete(s.slot, s.generation, {.items = s.items}, at->reply.size());
    if (waiter) connection_->wake(waiter);
    CHECK(client_->replied(s.slot, s.generation));
    pending_.erase(at);
  }

  std::shared_ptr<shm::Connection> connection_;
  std::unique_ptr<RawClient> client_;
  std::vector<Pending> pending_;
  std::uint64_t generations_[kGeometry.slots] = {};
  bool over_ = false;
};

}  // namespace
}  // namespace nacelle::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  nacelle::fuzz::Program().run(nacelle::fuzz::Input(data, size));
  return 0;
}
