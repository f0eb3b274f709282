// The client's end of streams: pieces out of a ring in B.
#include <algorithm>
#include <cstring>

#include "shm/link.h"
#include "shm/protocol.h"
#include "shm/wait.h"

namespace nacelle::shm {
namespace {

using base::Code;
using base::Error;

}  // namespace

base::Result<StreamTicket> Link::publish_stream(const Claim& claim, const CallFields& fields,
                                                std::uint32_t payload_size, base::Nanos deadline) {
  StreamTicket stream;
  // The slot is idle: where its last stream stopped stands still until this call is published.
  stream.position = reply_slot(claim.slot).produced.load(std::memory_order_relaxed);
  stream.ready = stream.given_back = stream.position;
  request_slot(claim.slot).consumed.store(stream.position, std::memory_order_relaxed);
  base::Result<Ticket> call = publish(claim, fields, payload_size, deadline);
  if (!call) return call.error();
  stream.call = *call;
  return stream;
}

base::Result<std::optional<std::span<const std::byte>>> Link::next_piece(StreamTicket& ticket,
                                                                         Answer* end) {
  const ReplySlot& reply = reply_slot(ticket.call.slot);
  const auto more = [&] {
    ticket.ready = reply.produced.load(protocol::Rules::kProduced);
    return ticket.ready != ticket.position;
  };
  if (ticket.ready == ticket.position && !more()) {
    // All read: whoever waits for room hears of it before we wait for pieces.
    give_back(ticket);
    const auto news = [&] { return more() || replied(ticket.call); };
    if (!spin_until(spin_ns_, news)) {
      base::Status slept = sleep_until(ticket.call, reply.progress, [&] {
        ticket.ready = reply.produced.load(std::memory_order_seq_cst);
        return ticket.ready != ticket.position ||
               protocol::replied_again(reply.generation, ticket.call.generation);
      });
      if (!slept) return slept.error();
    }
    // The end is published behind the last piece: who saw it first looks for pieces once more.
    if (ticket.ready == ticket.position && !more()) {
      base::Result<Answer> answer = read_answer(ticket.call);
      if (!answer) return answer.error();
      *end = *answer;
      return std::optional<std::span<const std::byte>>();
    }
  }
  std::span<const std::byte> piece;
  if (take_piece(ticket, &piece)) return std::optional(piece);
  cancel(ticket.call);
  return Error{Code::kInternal, "the sidecar's stream is not made of whole pieces"};
}

const std::byte* Link::ring_of(const StreamTicket& ticket) const {
  const std::uint32_t offset = reply_slot(ticket.call.slot).stream_offset;
  if (stream_ring_size_ == 0 || !base::fits(offset, stream_ring_size_, reply_arena_size_)) {
    return nullptr;
  }
  return reply_.data() + reply_arena_offset_ + offset;
}

bool Link::take_piece(StreamTicket& ticket, std::span<const std::byte>* piece, bool keep) {
  const std::uint32_t there = ticket.ready - ticket.position;
  if (there == 0) return false;
  const std::byte* ring = ring_of(ticket);
  if (ring == nullptr || there > stream_ring_size_ || there < sizeof(PieceHeader)) return false;
  // Room is given back a quarter of a ring at a time: a word that both sides touch for every piece
  // would cost more than the piece. (The piece before this one is not looked at any more.)
  if (ticket.position - ticket.given_back >= stream_ring_size_ / 4) {
    if (keep) return false;
    give_back(ticket);
  }
  PieceHeader header;
  const std::uint32_t mask = stream_ring_size_ - 1;
  std::memcpy(&header, ring + (ticket.position & mask), sizeof header);
  const std::uint64_t whole = piece_size(header.size);
  if (whole > there) return false;
  const std::uint32_t at = (ticket.position + std::uint32_t{sizeof header}) & mask;
  const std::uint32_t straight = std::min(header.size, stream_ring_size_ - at);
  if (keep && straight < header.size) return false;
  ticket.position += static_cast<std::uint32_t>(whole);
  *piece = {ring + at, header.size};
  if (straight == header.size) return true;
  ticket.wrapped.resize(header.size);
  base::copy_bytes(ticket.wrapped.data(), ring + at, straight);
  base::copy_bytes(ticket.wrapped.data() + straight, ring, header.size - straight);
  *piece = ticket.wrapped;
  return true;
}

// Tells the sidecar how far the pieces have been read, and rings when a stream waits for that.
void Link::give_back(StreamTicket& ticket) {
  if (ticket.given_back == ticket.position) return;
  ticket.given_back = ticket.position;
  std::atomic<std::uint32_t>& consumed = request_slot(ticket.call.slot).consumed;
  if (protocol::consume(consumed, ticket.position, reply_slot(ticket.call.slot).stalled)) {
    ring_doorbell();
  }
  carry_word(consumed);
}

}  // namespace nacelle::shm
