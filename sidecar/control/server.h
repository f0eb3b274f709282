// The control socket: its file, who may use it, and the thread that answers on it.
//
// The thread only polls, reads lines and calls the table; it shares nothing with the data path but
// what a verb's function reads. A client that sends garbage, reads slowly or does nothing costs one
// of a bounded number of connections for a bounded time.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "sidecar/base/result.h"
#include "sidecar/control/verbs.h"

namespace nacelle::control {

struct ServerOptions {
  std::string path = "";  // at most 107 bytes; its directory exists
  std::uint32_t connections_max = 16;
  int idle_timeout_ms = 60'000;  // from the connection or the last answer to the next whole line
  int write_timeout_ms = 5'000;  // for a client to take its whole answer
  // Whether a user may ask; empty means the sidecar's own user and root.
  std::function<bool(uid_t)> allow_uid = nullptr;
};

class Server {
 public:
  // Takes the name `path` over from whoever had it (a socket that an earlier sidecar left, or one
  // still serving) and starts to answer. kInvalid for a path that cannot be a socket, kDenied or
  // kUnavailable when the system refuses, each with the path and what to do.
  static base::Result<std::unique_ptr<Server>> start(ServerOptions options,
                                                     std::vector<Verb> verbs);

  // Stops answering, closes every connection, removes the socket's file unless a later sidecar has
  // taken the name, and waits for the thread.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

 private:
  class Loop;
  explicit Server(std::unique_ptr<Loop> loop);
  std::unique_ptr<Loop> loop_;
};

}  // namespace nacelle::control
