// transport_plain: floors, and peers that every machine has.
#include "bench/transport/plain.h"

namespace nacelle::bench {

std::span<const Way> ways() {
  static constexpr Way kWays[] = {
      {"ring", serve_ring, connect_ring},        // no checks, both sides spin
      {"futex", serve_futex, connect_futex},     // the same memory, both sides sleep
      {"stream", serve_stream, connect_stream},  // one way only
      {"pipe", serve_pipe, connect_pipe},
      {"socket", serve_socket, connect_socket},
      {"spinning_socket", serve_spinning_socket, connect_spinning_socket},
      {"message_queue", serve_message_queue, connect_message_queue},
  };
  return kWays;
}

}  // namespace nacelle::bench
