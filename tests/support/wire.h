// Both ends of a connection in one process: a Listener's side and a Link's side.
#pragma once

#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "shm/connection.h"
#include "shm/handshake.h"
#include "shm/link.h"
#include "sidecar/base/check.h"
#include "tests/support/temp_dir.h"

namespace nacelle::testing {

// Accepts one client and reads its hello, waiting for both.
inline std::pair<base::Fd, base::Result<std::optional<shm::Hello>>> meet(
    const shm::Listener& listener) {
  base::Fd socket;
  while (!(socket = listener.accept())) std::this_thread::yield();
  for (;;) {
    base::Result<std::optional<shm::Hello>> hello = shm::read_hello(socket.get());
    if (!hello || *hello) return {std::move(socket), std::move(hello)};
    std::this_thread::yield();
  }
}

struct Wire {
  explicit Wire(const shm::Geometry& geometry = {.slots = 4,
                                                 .request_arena_size = 65'536,
                                                 .reply_arena_size = 65'536},
                const shm::Limits& limits = {}) {
    base::Result<shm::Listener> listener = shm::Listener::listen(path);
    CHECK(listener.has_value());
    std::thread client([this] {
      shm::Hello hello;
      base::Result<std::shared_ptr<shm::Link>> made =
          shm::Link::open(path, hello, base::now_ns() + 10 * base::kSecond);
      CHECK(made.has_value());
      link = *made;
    });
    auto [socket, hello] = meet(*listener);
    CHECK(hello && hello->has_value());
    base::Result<shm::Peer> peer = shm::peer_of(socket.get());
    CHECK(peer.has_value());
    base::Result<std::shared_ptr<shm::Connection>> made =
        shm::Connection::open(std::move(socket), *peer, **hello, geometry, limits, 0x1234, 1);
    CHECK(made.has_value());
    connection = *made;
    client.join();
  }

  TempDir dir;
  std::string path = dir / "nacelle.sock";
  std::shared_ptr<shm::Link> link;
  std::shared_ptr<shm::Connection> connection;
};

}  // namespace nacelle::testing
