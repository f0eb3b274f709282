#include "shm/connection.h"

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include "shm/wait.h"
#include "sidecar/base/check.h"
#include "sidecar/base/file.h"

namespace nacelle::shm {
namespace {

using base::Code;
using base::Error;

// Small pieces are put together here and copied to the ring in one go: a core that fills whole
// lines of another core's cache need not read them first (30 to 54 million pieces of 64 bytes a
// second).
constexpr std::uint32_t kStaged = 4096;

std::string in_slot(std::uint32_t slot) { return "slot " + std::to_string(slot); }

// A client's own name for itself, made fit for logs: printable ASCII, at most the field's size.
std::string printable(const char (&field)[64]) {
  std::string name(field, ::strnlen(field, sizeof field));
  for (char& c : name) {
    if (c < 0x20 || c > 0x7e) c = '?';
  }
  return name;
}

}  // namespace

base::Result<std::shared_ptr<Connection>> Connection::open(
    base::Fd&& socket, const Peer& peer, const Hello& hello, const Geometry& geometry,
    const Limits& limits, std::uint64_t epoch, std::uint64_t id, const CacheOffer& cache) {
  CHECK(geometry.slots >= 1 && geometry.slots <= kSlotsMax);
  const auto connection = std::shared_ptr<Connection>(new Connection());
  connection->geometry_ = geometry;
  connection->peer_ = peer;
  connection->name_ = printable(hello.name);
  connection->id_ = id;
  connection->slots_ = std::make_unique<SlotState[]>(geometry.slots);
  connection->arena_ = Arena(geometry.reply_arena_size, geometry.slots);

  Welcome welcome;
  welcome.version_minor = std::min(hello.version_minor, kVersionMinor);
  welcome.request_region_size = geometry.request_region_size();
  welcome.reply_region_size = geometry.reply_region_size();

  // The slots at once, the arenas as they are used. A client without shared memory has a stand-in
  // that writes what the client says, wherever that is.
  const bool carried = (hello.features & kFeatureCarry) != 0;
  base::Result<base::Fd> request =
      create_region("nacelle-request", welcome.request_region_size,
                    carried ? welcome.request_region_size : geometry.request_arena_offset());
  if (!request) return request.error();
  base::Result<base::Fd> reply =
      create_region("nacelle-reply", welcome.reply_region_size, geometry.reply_arena_offset());
  if (!reply) return reply.error();
  base::Result<Mapping> request_map =
      Mapping::map(request->get(), welcome.request_region_size, Access::kRead);
  if (!request_map) return request_map.error();
  base::Result<Mapping> reply_map =
      Mapping::map(reply->get(), welcome.reply_region_size, Access::kReadWrite);
  if (!reply_map) return reply_map.error();
  // B is sealed after our own mapping exists: from here on nobody else can write to it.
  if (base::Status sealed = seal_for_clients_to_write(request->get()); !sealed)
    return sealed.error();
  if (base::Status sealed = seal_against_writers(reply->get()); !sealed) return sealed.error();

  connection->request_ = *std::move(request_map);
  connection->reply_ = *std::move(reply_map);
  connection->from_client_ = Untrusted(
      {connection->request_.data(), static_cast<std::size_t>(connection->request_.size())});
  connection->backing_ =
      Backing({connection->reply_.data(), static_cast<std::size_t>(connection->reply_.size())},
              geometry.reply_arena_offset());
  connection->write_header(epoch, limits);
  connection->doorbell_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!connection->doorbell_) {
    return Error{Code::kUnavailable, "cannot create a doorbell: " + base::errno_text(errno)};
  }
  const bool cached = (hello.features & kFeatureCache) != 0 && cache.region >= 0;
  if (cached) welcome.features |= kFeatureCache;
  const int fds[kWelcomeFdsMax] = {request->get(), reply->get(), connection->doorbell_.get(),
                                   cache.region, cache.touches};
  const std::size_t count = cached ? kWelcomeFdsMax : kWelcomeFds;
  if (base::Status sent = send_welcome(socket.get(), welcome, std::span(fds).first(count)); !sent) {
    return sent.error();
  }
  connection->process_ = process_of(socket.get());
  connection->socket_ = std::move(socket);
  return connection;
}

void Connection::write_header(std::uint64_t epoch, const Limits& limits) {
  auto* header = new (reply_.data()) ReplyHeader{};
  std::memcpy(header->magic, kMagic, sizeof kMagic);
  header->version_major = kVersionMajor;
  header->version_minor = kVersionMinor;
  header->header_size = sizeof(ReplyHeader);
  header->epoch = epoch;
  header->slots = geometry_.slots;
  header->request_slot_size = sizeof(RequestSlot);
  header->reply_slot_size = sizeof(ReplySlot);
  header->request_slots_offset = sizeof(RequestHeader);
  header->reply_slots_offset = sizeof(ReplyHeader);
  header->request_arena_offset = geometry_.request_arena_offset();
  header->request_arena_size = geometry_.request_arena_size;
  header->reply_arena_offset = geometry_.reply_arena_offset();
  header->reply_arena_size = geometry_.reply_arena_size;
  header->items_max = limits.items_max;
  header->text_bytes_max = limits.text_bytes_max;
  header->deadline_default_us = limits.deadline_default_us;
  header->stream_ring_size = geometry_.stream_ring_size;
}

Connection::WordU64 Connection::word_u64(std::uint32_t slot, std::size_t field) const {
  return {from_client_, request_slot(slot) + field};
}

Connection::WordU32 Connection::word_u32(std::uint32_t slot, std::size_t field) const {
  return {from_client_, request_slot(slot) + field};
}

std::uint64_t Connection::request_slot(std::uint32_t slot) const {
  CHECK(slot < geometry_.slots);
  return sizeof(RequestHeader) + std::uint64_t{slot} * sizeof(RequestSlot);
}

ReplySlot& Connection::reply_slot(std::uint32_t slot) const {
  CHECK(slot < geometry_.slots);
  return *std::launder(reinterpret_cast<ReplySlot*>(reply_.data() + sizeof(ReplyHeader)) + slot);
}

base::Error Connection::broken(Violation violation, const std::string& what) {
  violation_ = violation;
  return Error{Code::kInvalid, "the client broke the protocol: " + what};
}

base::Result<bool> Connection::take(std::uint32_t* cursor, Submission* out) {
  const std::uint32_t used = from_client_.load_u32(offsetof(RequestHeader, slots_used));
  if (used > geometry_.slots) {
    return broken(Violation::kSlotsUsed, "slots_used is " + std::to_string(used) + " of " +
                                             std::to_string(geometry_.slots));
  }
  for (; *cursor < used; ++*cursor) {
    const std::uint32_t slot = *cursor;
    SlotState& state = slots_[slot];
    std::uint64_t generation = 0;
    const protocol::Look look = protocol::look(word_u64(slot, offsetof(RequestSlot, generation)),
                                               state.generation, state.busy, &generation);
    if (look == protocol::Look::kNothing) continue;
    if (look == protocol::Look::kSkipped) {
      return broken(Violation::kGeneration, in_slot(slot) + " went from generation " +
                                                std::to_string(state.generation) + " to " +
                                                std::to_string(generation));
    }
    if (look == protocol::Look::kTooEarly) {
      return broken(Violation::kBusySlot, in_slot(slot) + " was published again before its reply");
    }
    // The fields, then the payload. Not the words between and behind them, which the client may be
    // storing to at this moment.
    constexpr std::size_t kFields = offsetof(RequestSlot, op);
    constexpr std::size_t kFieldsEnd = offsetof(RequestSlot, consumed);
    std::byte bytes[kFieldsEnd];
    CHECK(
        from_client_.copy_in(request_slot(slot) + kFields, kFieldsEnd - kFields, bytes + kFields));
    CHECK(from_client_.copy_in(request_slot(slot) + offsetof(RequestSlot, payload), kRequestInline,
                               out->inline_payload));
    // Read from the copy only: what the client changes now comes too late.
    const auto field = [&bytes]<typename T>(T* value, std::size_t offset) {
      std::memcpy(value, bytes + offset, sizeof *value);
    };
    std::uint16_t op = 0;
    out->slot = slot;
    out->generation = generation;
    field(&op, offsetof(RequestSlot, op));
    field(&out->flags, offsetof(RequestSlot, flags));
    field(&out->service, offsetof(RequestSlot, service));
    field(&out->items, offsetof(RequestSlot, items));
    field(&out->payload_size, offsetof(RequestSlot, payload_size));
    field(&out->payload_offset, offsetof(RequestSlot, payload_offset));
    field(&out->deadline_us, offsetof(RequestSlot, deadline_us));
    field(&out->trace, offsetof(RequestSlot, trace));
    if (op >= kOpsEnd)
      return broken(Violation::kOp, in_slot(slot) + " asks for op " + std::to_string(op));
    out->op = static_cast<Op>(op);
    if (out->payload_size > kRequestInline &&
        !base::fits(out->payload_offset, out->payload_size, geometry_.request_arena_size)) {
      return broken(Violation::kPayload, in_slot(slot) + " has a payload outside its arena: " +
                                             std::to_string(out->payload_size) + " bytes at " +
                                             std::to_string(out->payload_offset));
    }
    state.generation = generation;
    take_back(state);  // a client that publishes again is done with the last reply
    state.streaming = streams(out->op);
    state.busy.store(true, std::memory_order_relaxed);
    in_flight_.fetch_add(1, std::memory_order_relaxed);
    ++*cursor;
    return true;
  }
  return false;
}

bool Connection::copy_payload(const Submission& submission, std::span<std::byte> out) const {
  CHECK(out.size() == submission.payload_size);
  if (submission.payload_size <= kRequestInline) {
    base::copy_bytes(out.data(), submission.inline_payload, submission.payload_size);
    return true;
  }
  return from_client_.copy_in(
      std::uint64_t{geometry_.request_arena_offset()} + submission.payload_offset,
      submission.payload_size, out.data());
}

bool Connection::could_hold(std::uint64_t size) const {
  return size <= kReplyInline || Arena::rounded(size) <= geometry_.reply_arena_size;
}

std::span<std::byte> Connection::reserve(const Submission& submission, std::uint64_t size,
                                         Fill fill) {
  SlotState& state = slots_[submission.slot];
  CHECK(state.busy.load(std::memory_order_relaxed) && state.generation == submission.generation);
  CHECK(size > 0 && could_hold(size));
  state.reply = size <= kReplyInline ? reply_slot(submission.slot).payload : lend(state, size);
  if (state.reply == nullptr) return {};
  if (fill == Fill::kZeros) std::memset(state.reply, 0, size);
  return {state.reply, static_cast<std::size_t>(size)};
}

// Room in B's arena for a slot's reply, until take_back(); null when there is none now.
std::byte* Connection::lend(SlotState& state, std::uint64_t size) {
  std::optional<std::uint32_t> offset = arena_.allocate(size);
  if (!offset) {
    collect_released();
    offset = arena_.allocate(size);
  }
  if (!offset) return nullptr;
  if (!backing_.reach(geometry_.reply_arena_offset() + *offset + size)) {
    arena_.release(*offset, size);
    return nullptr;
  }
  state.lent_offset = *offset;
  state.lent_size = size;
  return reply_.data() + geometry_.reply_arena_offset() + *offset;
}

void Connection::take_back(SlotState& state) {
  if (state.lent_size > 0) arena_.release(state.lent_offset, state.lent_size);
  state.lent_size = 0;
  state.reply = nullptr;
}

void Connection::collect_released() {
  for (std::uint32_t slot = 0; slot < geometry_.slots; ++slot) {
    SlotState& state = slots_[slot];
    if (state.lent_size == 0 || state.busy.load(std::memory_order_acquire)) continue;
    const std::uint64_t released =
        from_client_.load_u64(request_slot(slot) + offsetof(RequestSlot, released));
    // Any other number is a client that has not read its reply, or one that lies: its loss.
    if (released == state.generation) take_back(state);
  }
}

bool Connection::open_stream(const Submission& submission) {
  SlotState& state = slots_[submission.slot];
  CHECK(state.busy.load(std::memory_order_relaxed) && state.streaming);
  std::byte* ring = lend(state, geometry_.stream_ring_size);
  if (ring == nullptr) return false;
  ReplySlot& reply = reply_slot(submission.slot);
  state.reply = ring;
  // Goes on counting where the last stream stopped; what its reader left unread is gone.
  state.written = state.consumed = reply.produced.load(std::memory_order_relaxed);
  state.parked = false;
  state.staged_size = 0;
  if (!state.staged) state.staged = std::make_unique<std::byte[]>(kStaged);
  reply.stream_offset = state.lent_offset;  // seen with the first piece
  reply.stalled.store(0, std::memory_order_relaxed);
  reply.woken.store(state.progress, std::memory_order_relaxed);
  return true;
}

std::uint32_t Connection::piece_max() const {
  return geometry_.stream_ring_size / 2 - std::uint32_t{sizeof(PieceHeader)};
}

// Bytes that the ring of a slot's stream has room for. The client's count of what it has read is
// believed while it moves forwards and not past what was written; any other value leaves the room
// as it was: who lies about it waits for pieces that never come, until the deadline.
std::uint32_t Connection::ring_room(std::uint32_t slot) {
  SlotState& state = slots_[slot];
  const std::uint32_t said =
      word_u32(slot, offsetof(RequestSlot, consumed)).load(protocol::Rules::kConsumed);
  if (said - state.consumed <= state.written - state.consumed) state.consumed = said;
  return geometry_.stream_ring_size - (state.written - state.consumed);
}

bool Connection::write_piece(std::uint32_t slot, std::span<const std::byte> piece) {
  SlotState& state = slots_[slot];
  CHECK(piece.size() <= piece_max());
  const auto size = static_cast<std::uint32_t>(piece_size(piece.size()));
  // Look at the client's word only when what we know is not enough: it is in another core's cache.
  if (geometry_.stream_ring_size - (state.written - state.consumed) < size &&
      ring_room(slot) < size) {
    return false;
  }
  if (state.parked) {
    state.parked = false;
    reply_slot(slot).stalled.store(0, std::memory_order_relaxed);
  }
  if (state.staged_size + std::uint64_t{size} > kStaged) flush_pieces(state);
  const PieceHeader header{static_cast<std::uint32_t>(piece.size()), 0};
  if (size <= kStaged) {
    std::byte* to = state.staged.get() + state.staged_size;
    std::memcpy(to, &header, sizeof header);
    base::copy_bytes(to + sizeof header, piece.data(), piece.size());
    state.staged_size += size;
    state.written += size;
    return true;
  }
  copy_to_ring(state, state.written, &header, sizeof header);
  copy_to_ring(state, state.written + std::uint32_t{sizeof header}, piece.data(), piece.size());
  state.written += size;
  return true;
}

// Copies `size` bytes to the ring, to where byte `at` of the slot's streams belongs.
void Connection::copy_to_ring(const SlotState& state, std::uint32_t at, const void* bytes,
                              std::size_t size) const {
  const std::uint32_t from = at & (geometry_.stream_ring_size - 1);
  const std::size_t straight = std::min<std::size_t>(size, geometry_.stream_ring_size - from);
  base::copy_bytes(state.reply + from, bytes, straight);
  if (straight < size) {  // around the ring's end
    base::copy_bytes(state.reply, static_cast<const std::byte*>(bytes) + straight, size - straight);
  }
}

void Connection::flush_pieces(SlotState& state) const {
  copy_to_ring(state, state.written - state.staged_size, state.staged.get(), state.staged_size);
  state.staged_size = 0;
}

Waiter Connection::publish_pieces(std::uint32_t slot) {
  SlotState& state = slots_[slot];
  ReplySlot& reply = reply_slot(slot);
  flush_pieces(state);
  const std::uint32_t how =
      protocol::produce(reply.produced, state.written, reply.progress, ++state.progress,
                        word_u32(slot, offsetof(RequestSlot, waiting)));
  return {slot, how, true, state.progress};
}

bool Connection::park_stream(std::uint32_t slot, std::uint64_t size) {
  ReplySlot& reply = reply_slot(slot);
  // seq_cst, and then another look: either we see the reader's last word or it sees this one.
  protocol::raise_stalled(reply.stalled);
  slots_[slot].parked = true;
  if (ring_room(slot) < size) return true;
  slots_[slot].parked = false;
  reply.stalled.store(0, std::memory_order_relaxed);
  return false;
}

void Connection::set_asleep(bool asleep) {
  auto* header = std::launder(reinterpret_cast<ReplyHeader*>(reply_.data()));
  if (asleep) {
    protocol::raise_asleep(header->asleep);
  } else {
    header->asleep.store(0, std::memory_order_relaxed);  // a bell too many does no harm
  }
}

Waiter Connection::complete(std::uint32_t slot, std::uint64_t generation, const ReplyFields& fields,
                            std::uint64_t payload_size) {
  SlotState& state = slots_[slot];
  ReplySlot& reply = reply_slot(slot);
  reply.code = static_cast<std::uint16_t>(fields.code);
  reply.flags = 0;
  reply.items = fields.items;
  reply.payload_size = static_cast<std::uint32_t>(payload_size);
  reply.payload_offset = state.lent_size > 0 ? state.lent_offset : 0;
  reply.queue_us = fields.queue_us;
  reply.compute_us = fields.compute_us;
  reply.batch_texts = fields.batch_texts;
  reply.batch_clients = fields.batch_clients;
  reply.retry_after_us = fields.retry_after_us;
  in_flight_.fetch_sub(1, std::memory_order_relaxed);
  // From the answer on, the slot's state may be intake's again.
  const WordU32 waiting = word_u32(slot, offsetof(RequestSlot, waiting));
  const bool streaming = state.streaming;
  const std::uint32_t news =
      streaming ? state.progress + 1 : static_cast<std::uint32_t>(generation);
  const std::uint32_t how =
      streaming ? protocol::answer_stream(state.busy, reply.generation, generation, reply.progress,
                                          ++state.progress, waiting)
                : protocol::answer(state.busy, reply.generation, generation, waiting);
  return {slot, how, streaming, news};
}

Waiter Connection::complete_error(std::uint32_t slot, std::uint64_t generation,
                                  const base::Error& error, std::uint32_t retry_after_us) {
  std::size_t size = std::min<std::size_t>(error.message.size(), kReplyInline);
  // Not in the middle of a UTF-8 character.
  while (size > 0 && size < error.message.size() &&
         (static_cast<unsigned char>(error.message[size]) & 0xC0U) == 0x80U) {
    --size;
  }
  std::memcpy(reply_slot(slot).payload, error.message.data(), size);
  ReplyFields fields;
  fields.code = error.code;
  fields.retry_after_us = retry_after_us;
  return complete(slot, generation, fields, size);
}

void Connection::wake(const Waiter& waiter) {
  ReplySlot& reply = reply_slot(waiter.slot);
  if (waiter.how == kWaitsPolling) {
    // On the socket rather than an eventfd: MSG_DONTWAIT holds for this call alone, while both ends
    // of an eventfd share its flags, and a client could make a write to one block for ever. When
    // the socket is full there is plenty for the client to read.
    const char byte = 0;
    [[maybe_unused]] const ssize_t sent =
        ::send(socket_.get(), &byte, sizeof byte, MSG_DONTWAIT | MSG_NOSIGNAL);
  } else {
    futex_wake(waiter.streaming ? &reply.progress : low_half(&reply.generation));
  }
  // After the wake, so that the word vouches for it.
  reply.woken.store(waiter.news, std::memory_order_release);
}

bool Connection::cancelled(std::uint32_t slot, std::uint64_t generation) const {
  const std::uint32_t word =
      from_client_.load_u32(request_slot(slot) + offsetof(RequestSlot, cancel));
  return word != 0 && word == static_cast<std::uint32_t>(generation);  // 0: never used
}

}  // namespace nacelle::shm
