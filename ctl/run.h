// nacellectl from its command line to its exit code, with the world passed in so that tests can
// run it in their own process.
#pragma once

#include <string>

namespace nacelle::ctl {

// Exit codes; scripts rely on them.
enum Exit : int {
  kDone = 0,
  kRefused = 1,      // the sidecar said no
  kUsage = 2,        // the command line makes no sense; nothing was asked
  kUnreachable = 3,  // nobody answers at the socket, or not in time
};

struct Ran {
  Exit exit = kDone;
  std::string out;  // for standard output
  std::string err;  // for standard error
};

// `socket_variable` is NACELLE_CONTROL_SOCKET, or null when it is not set.
Ran run(int argc, const char* const* argv, const char* socket_variable);

}  // namespace nacelle::ctl
