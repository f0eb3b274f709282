#include "shm/stream.h"

#include <utility>

#include "shm/link.h"
#include "shm/list_call.h"

namespace nacelle {

Stream::Stream(std::shared_ptr<shm::Link> link, shm::StreamTicket&& ticket)
    : link_(std::move(link)), ticket_(std::make_unique<shm::StreamTicket>(std::move(ticket))) {}

Stream::~Stream() {
  if (!ended_) link_->cancel(ticket_->call);
}

base::Result<std::optional<std::span<const std::byte>>> Stream::next() {
  using Piece = std::optional<std::span<const std::byte>>;
  if (ended_) return Piece();
  if (std::span<const std::byte> ready; link_->take_piece(*ticket_, &ready)) {
    pieces_ += 1;
    return Piece(ready);
  }
  shm::Answer end;
  base::Result<Piece> piece = link_->next_piece(*ticket_, &end);
  if (piece && *piece) {
    pieces_ += 1;
    return piece;
  }
  ended_ = true;
  if (!piece) return piece.error();  // the ticket is used up
  const base::Error error = shm::error_of(end);
  const std::uint32_t sent = end.fields.items;
  link_->finish(ticket_->call);
  if (error.code != base::Code::kOk) return error;
  if (sent != static_cast<std::uint32_t>(pieces_)) {
    return base::Error{base::Code::kInternal, "the sidecar's stream lost pieces"};
  }
  return Piece();
}

base::Result<std::size_t> Stream::next(std::span<std::span<const std::byte>> out) {
  if (out.empty()) return std::size_t{0};
  base::Result<std::optional<std::span<const std::byte>>> first = next();
  if (!first) return first.error();
  if (!*first) return std::size_t{0};
  out[0] = **first;
  std::size_t count = 1;
  while (count < out.size() && link_->take_piece(*ticket_, &out[count], true)) ++count;
  pieces_ += count - 1;
  return count;
}

}  // namespace nacelle
