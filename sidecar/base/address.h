// A place to listen at over IP, as people write it: 127.0.0.1:9464 or [::1]:9464. Numbers only:
// nothing asks a name server.
#pragma once

#include <sys/socket.h>

#include <optional>
#include <string_view>

namespace nacelle::base {

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
  bool loopback = false;  // reachable from this machine (network namespace) alone
};

// Nothing when `text` is not an address with a port of 0 to 65535; 0 lets the system choose.
std::optional<Address> parse_address(std::string_view text);

}  // namespace nacelle::base
