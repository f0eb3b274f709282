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

}  // namespace nacelle
