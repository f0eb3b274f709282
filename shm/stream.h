// An answer that comes in pieces: Client::ping_stream() today, generated text later.
//
//   while (auto piece = (*stream)->next(); piece && *piece) use(**piece);
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "sidecar/base/result.h"

namespace nacelle {

namespace shm {
class Link;
struct StreamTicket;
}  // namespace shm

// For one thread at a time. A stream that is destroyed before its end is given up, and the sidecar
// stops working on it. A reader that is slow makes its own stream wait and no other.
class Stream {
 public:
  Stream(std::shared_ptr<shm::Link> link, shm::StreamTicket&& ticket);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // The next piece, waiting for it: valid until the next call. Nothing at the end of the stream.
  // Errors end it, too: kDeadlineExceeded, kSidecarGone, and what the sidecar says; then the pieces
  // before it are all that there are.
  base::Result<std::optional<std::span<const std::byte>>> next();

  // The same, several at a time: waits for the first, and takes as many more as are there and as
  // `out` has room for. How many; 0 at the end. All are valid until the next call.
  base::Result<std::size_t> next(std::span<std::span<const std::byte>> out);

  [[nodiscard]] std::uint64_t pieces() const { return pieces_; }  // that next() has returned

 private:
  std::shared_ptr<shm::Link> link_;
  std::unique_ptr<shm::StreamTicket> ticket_;
  std::uint64_t pieces_ = 0;
  bool ended_ = false;
};

}  // namespace nacelle
