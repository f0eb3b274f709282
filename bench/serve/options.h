// The command line of serve_load.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "bench/serve/load.h"
#include "sidecar/base/result.h"

namespace nacelle::bench::serve {

struct Part {
  std::uint32_t index = 0;
  std::uint32_t count = 1;  // above index
};

struct Options {
  bool http = false;
  std::vector<std::string> sockets;
  std::string service;
  std::string name = "serve_load";
  std::string texts;     // a file, one a line
  std::string expected;  // a file, the texts' vectors as raw floats; "": ask for them first
  Part part;             // of the texts
  Load load;
};

inline constexpr std::uint32_t kProcessesMax = 256;
inline constexpr std::uint32_t kConnectionsMax = 1024;  // of a process
inline constexpr base::Nanos kDurationMax = 600 * base::kSecond;

// Words after the program's name. kInvalid names the one that is wrong.
base::Result<Options> parse_options(std::span<const char* const> words);

extern const char* const kUsage;

}  // namespace nacelle::bench::serve
